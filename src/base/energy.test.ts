import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { type BatteryReading, EnergyMeter, type EnergyReading, readEnergy } from './energy.js';

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

const root = scratchFolder();

/** A tree as sysfs shows it: folders of files of one value. */
function sysfs(files: Record<string, string | number>): { powercap: string; powerSupply: string } {
  const folder = mkdtempSync(join(root, 'sys-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), `${text}\n`);
  }
  return { powercap: join(folder, 'powercap'), powerSupply: join(folder, 'power_supply') };
}

const zone = (name: string, kind: string, micro: number, range = 262143328850) => ({
  [`powercap/${name}/name`]: kind,
  [`powercap/${name}/energy_uj`]: micro,
  [`powercap/${name}/max_energy_range_uj`]: range,
});

describe('readEnergy', () => {
  it('tells nothing where there is nothing', () => {
    assert.equal(readEnergy(sysfs({})), undefined);
    assert.equal(readEnergy(sysfs({ 'power_supply/AC/type': 'Mains', 'power_supply/AC/online': 1 })), undefined);
  });

  it('takes packages and memory, each joule once', () => {
    const reading = readEnergy(
      sysfs({
        'powercap/intel-rapl/enabled': 1,
        ...zone('intel-rapl:0', 'package-0', 5_000_000),
        ...zone('intel-rapl:0:0', 'core', 4_000_000),
        ...zone('intel-rapl:0:1', 'dram', 250_000, 65_000_000_000),
        ...zone('intel-rapl:1', 'package-1', 7_000_000),
        ...zone('intel-rapl:2', 'psys', 90_000_000),
        ...zone('intel-rapl-mmio:0', 'package-0', 5_000_000),
        'power_supply/BAT0/type': 'Battery',
        'power_supply/BAT0/energy_now': 1,
      }),
    );
    assert.ok(reading?.source === 'rapl');
    assert.deepEqual(
      reading.counters.map(({ zone, joules, range }) => [zone, joules, Math.round(range)]),
      [
        ['intel-rapl:0', 5, 262143],
        ['intel-rapl:0:1', 0.25, 65000],
        ['intel-rapl:1', 7, 262143],
      ],
    );
  });

  it('goes on to the battery where counters may not be read', () => {
    // A folder of that name gives an error to the reader, as a file without permission does to all but root.
    const reading = readEnergy(
      sysfs({
        'powercap/intel-rapl:0/name': 'package-0',
        'powercap/intel-rapl:0/energy_uj/none': 0,
        'powercap/intel-rapl:0/max_energy_range_uj': 1,
        'power_supply/BAT0/type': 'Battery',
        'power_supply/BAT0/status': 'Discharging',
        'power_supply/BAT0/energy_now': 1_000_000,
      }),
    );
    assert.deepEqual(reading, {
      source: 'battery',
      batteries: [{ name: 'BAT0', status: 'Discharging', left: { joules: 3600 } }],
    });
  });

  it('takes charge and voltage where there is no energy, under either name, and no battery of a mouse', () => {
    const reading = readEnergy(
      sysfs({
        'power_supply/bms/type': 'BMS',
        'power_supply/bms/charge_now': 1,
        'power_supply/hid-mouse/type': 'Battery',
        'power_supply/hid-mouse/scope': 'Device',
        'power_supply/hid-mouse/energy_now': 1,
        'power_supply/a/type': 'Battery',
        'power_supply/a/status': 'Charging',
        'power_supply/a/charge_now': 1_000_000,
        'power_supply/a/voltage_now': 4_000_000,
        'power_supply/b/type': 'Battery',
        'power_supply/b/charge_counter': 500_000,
        'power_supply/b/voltage_now': 3_500_000,
        'power_supply/c/type': 'Battery',
        'power_supply/c/capacity': 80,
        'power_supply/d/type': 'Battery',
        'power_supply/d/energy_now': 'unknown',
      }),
    );
    assert.deepEqual(reading, {
      source: 'battery',
      batteries: [
        { name: 'a', status: 'Charging', left: { coulombs: 3600, volts: 4 } },
        { name: 'b', status: 'Unknown', left: { coulombs: 1800, volts: 3.5 } },
      ],
    });
  });

  it('does not fail on this machine, whatever it tells', () => {
    const reading = readEnergy();
    assert.ok(reading === undefined || reading.source === 'rapl' || reading.source === 'battery');
  });
});
