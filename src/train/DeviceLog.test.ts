import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Device } from '../base/device/Device.js';
import { emptyDesk } from '../base/device/Device.js';
import type { Battery, Reading } from '../base/device/Reading.js';
import { DeviceLog, restShare } from './DeviceLog.js';

const reading = (more: Partial<Reading> = {}): Reading => ({ at: new Date(), freeMemory: 1e9, battery: null, ...more });
const battery = (celsius: number, more: Partial<Battery> = {}): Battery => ({
  percent: 80,
  charging: false,
  celsius,
  ...more,
});

describe('rests', () => {
  it('grow towards the limit, and are as long at most as what is worth it', () => {
    const share = (celsius: number, most?: number) => restShare(reading({ battery: battery(celsius) }), most);
    assert.deepEqual(
      [30, 40, 42.5, 45, 60].map((celsius) => share(celsius)),
      [0, 0, 1.5, 3, 3],
    );
    for (const [celsius, expected] of [
      [34, 0],
      [36, 1.2],
      [39, 3],
    ] as const)
      assert.ok(Math.abs(share(celsius, 39) - expected) < 1e-9);
  });

  it('are no affair of a processor unless a limit is set', () => {
    assert.equal(restShare(reading({ processorCelsius: 99 }), undefined), 0);
    assert.equal(restShare(reading({ processorCelsius: 80 }), 80), 3);
    assert.equal(restShare(reading(), 80), 0);
  });

  it('are taken after work, in proportion to it, and end when the run is stopped', async () => {
    using log = await DeviceLog.begin(
      40,
      phone(() => reading({ battery: battery(40) })),
    );
    const began = performance.now();
    while (performance.now() - began < 30);
    await log.rest(undefined);
    assert.ok(log.rested >= 0.08, `${log.rested}`);
    const before = log.rested;
    while (performance.now() - began < 2000);
    await log.rest(AbortSignal.abort());
    assert.ok(log.rested - before < 1);
  });
});

function phone(read: () => Reading): Device {
  return {
    name: 'test',
    mobile: true,
    read: async () => read(),
    android: async () => undefined,
    place: async () => ({ inMemory: false, shared: false }),
    keepAwake: async () => undefined,
    desk: emptyDesk,
  };
}

describe('what a stage has taken', () => {
  const at = (percent: number, celsius: number, charging = false) =>
    reading({ battery: battery(celsius, { percent, charging }) });

  it('is what the battery has lost, if it was on it all the time', async () => {
    let now = at(80, 31);
    using log = await DeviceLog.begin(
      undefined,
      phone(() => now),
    );
    now = at(76, 41);
    const { batteryPercent, peakCelsius } = await log.taken();
    assert.deepEqual([batteryPercent, peakCelsius], [4, 41]);
    now = at(74, 33);
    assert.deepEqual((await log.taken()).peakCelsius, 41);
    now = at(75, 33, true);
    assert.equal((await log.taken()).batteryPercent, undefined);
    now = at(70, 33);
    assert.equal((await log.taken()).batteryPercent, undefined, 'part of the time says nothing');
  });

  it('is nothing where nothing is told', async () => {
    using log = await DeviceLog.begin(
      undefined,
      phone(() => reading()),
    );
    const { batteryPercent, peakCelsius } = await log.taken();
    assert.deepEqual([batteryPercent, peakCelsius], [undefined, undefined]);
  });
});
