import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EnergyMeter } from './energyMeter.js';
import type { BatteryReading, EnergyReading } from './readEnergy.js';

/** A meter over these readings, and what it tells after each but the first. */
function run(readings: (EnergyReading | undefined)[]): (number | undefined)[] {
  let at = 0;
  const meter = new EnergyMeter(() => readings[at++]);
  return readings.slice(1).map(() => meter.joules());
}
const rapl = (...joules: number[]): EnergyReading => ({
  source: 'rapl',
  counters: joules.map((value, i) => ({ zone: `intel-rapl:${i}`, joules: value, range: 100 })),
});
const battery = (left: BatteryReading['left'], status = 'Discharging', name = 'BAT0'): BatteryReading => ({
  name,
  status,
  left,
});
const batteries = (...list: BatteryReading[]): EnergyReading => ({ source: 'battery', batteries: list });

describe('EnergyMeter', () => {
  it('sums all counters from where they stood, through their return to zero', () => {
    assert.deepEqual(run([rapl(90, 5), rapl(95, 6), rapl(5, 6), rapl(5, 99), rapl(5, 1)]), [6, 16, 109, 111]);
  });

  it('takes what is missing from batteries', () => {
    const joules = [1000, 990, 995, 900].map((left) => batteries(battery({ joules: left })));
    assert.deepEqual(run(joules), [10, 5, 100]);
  });

  it('takes charge at the mean voltage: a voltage that sags under load is no energy used', () => {
    const at = (coulombs: number, volts: number) => batteries(battery({ coulombs, volts }));
    assert.deepEqual(run([at(1000, 4), at(1000, 3), at(990, 3), at(980, 4)]), [0, 30, 65]);
  });

  it('is never below zero', () => {
    assert.deepEqual(run([1000, 1010].map((left) => batteries(battery({ joules: left })))), [0]);
  });

  it('allows one of two batteries to wait', () => {
    const both = (joules: number) => batteries(battery({ joules }), battery({ joules: 500 }, 'Not charging', 'BAT1'));
    assert.deepEqual(run([both(100), both(90)]), [10]);
  });

  it('tells nothing from the first stretch on that was not covered', () => {
    const on = batteries(battery({ joules: 100 }));
    const charging = batteries(battery({ joules: 100 }, 'Charging'));
    const full = batteries(battery({ joules: 100 }, 'Full'));
    for (const other of [
      charging,
      full,
      undefined,
      rapl(1),
      batteries(),
      batteries(battery({ joules: 1 }, 'Discharging', 'x')),
    ]) {
      assert.deepEqual(run([on, on, other, on, on]), [0, undefined, undefined, undefined]);
    }
    assert.deepEqual(run([charging, on, on]), [undefined, undefined]);
    assert.deepEqual(run([undefined, on, on]), [undefined, undefined]);
    assert.deepEqual(run([rapl(1, 2), rapl(1)]), [undefined]);
  });

  it('says whose energy it is', () => {
    assert.equal(new EnergyMeter(() => rapl(1)).source, 'rapl');
    assert.equal(new EnergyMeter(() => batteries()).source, 'battery');
    assert.equal(new EnergyMeter(() => undefined).source, undefined);
  });
});
