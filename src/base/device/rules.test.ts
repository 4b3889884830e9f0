import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Battery, Reading } from './Reading.js';
import { type Broken, broken, checkRules, hasRules, type Rules, requireTold, waitsBecause } from './rules.js';

const battery: Battery = { percent: 60, charging: false, celsius: 31 };
const reading = (more: Partial<Reading> = {}): Reading => ({
  at: new Date('2026-11-03T12:00:00'),
  battery,
  processorCelsius: 70,
  idleSeconds: 100,
  freeMemory: 2e9,
  ...more,
});
const clausesOf = (found: readonly Broken[]) => found.map(({ clause }) => clause);
const on = (rules: Partial<Rules>, more: Partial<Reading> = {}) =>
  clausesOf(broken(rules, reading(more), { wasRunning: true }));
const off = (rules: Partial<Rules>, more: Partial<Reading> = {}) =>
  clausesOf(broken(rules, reading(more), { wasRunning: false }));

it('without rules nothing is asked', () => {
  assert.deepEqual(on({}, { battery: undefined, freeMemory: 0 }), []);
  assert.equal(hasRules({ whileCharging: false, minBattery: undefined }), false);
  assert.equal(hasRules({ hours: '1-2' }), true);
});

it('charging means external power, and a device without battery has it always', () => {
  assert.deepEqual(on({ whileCharging: true }), ['it is not charging (battery at 60 %)']);
  assert.deepEqual(on({ whileCharging: true }, { battery: { ...battery, charging: true } }), []);
  assert.deepEqual(on({ whileCharging: true }, { battery: null }), []);
  assert.deepEqual(on({ minBattery: 99 }, { battery: null }), []);
});

it('what stopped for a figure goes on only when it is a little better, so that it does not stop at once again', () => {
  const at = (percent: number, charging = false) => ({ battery: { ...battery, percent, charging } });
  assert.deepEqual(on({ minBattery: 50 }, at(50)), []);
  assert.equal(on({ minBattery: 50 }, at(49)).length, 1);
  assert.equal(on({ minBattery: 50 }, at(49, true)).length, 1);
  assert.equal(off({ minBattery: 50 }, at(52)).length, 1);
  assert.deepEqual(off({ minBattery: 50 }, at(52, true)), []);
  assert.deepEqual(off({ minBattery: 50 }, at(53)), []);
  assert.deepEqual(off({ minBattery: 100 }, at(100)), []);
  const warm = (celsius: number) => ({ battery: { ...battery, celsius } });
  assert.deepEqual(on({ maxCelsius: 40 }, warm(40)), []);
  assert.deepEqual(on({ maxCelsius: 40 }, warm(41)), ['the battery has 41 °C, and at most 40 °C are allowed']);
  assert.equal(off({ maxCelsius: 40 }, warm(38)).length, 1);
  assert.deepEqual(off({ maxCelsius: 40 }, warm(37)), []);
  const processor = on({ maxCelsius: 60 }, { battery: null });
  assert.deepEqual(processor, ['the processor has 70 °C, and at most 60 °C are allowed']);
});

it('memory must be there for what the work gave back, too', () => {
  assert.deepEqual(on({ minMemory: 100 }, { freeMemory: 100e6 }), []);
  assert.deepEqual(on({ minMemory: 100 }, { freeMemory: 99e6 }), ['only 99.0 MB of memory are free']);
  const needs = (freeMemory: number) =>
    broken({ minMemory: 100 }, reading({ freeMemory }), { wasRunning: false, needs: 500e6 });
  assert.equal(needs(500e6).length, 1);
  assert.deepEqual(needs(600e6), []);
});

it('hours are those of the clock of the device, over midnight too', () => {
  const at = (time: string) => ({ at: new Date(`2026-11-03T${time}:00`) });
  const night = { hours: '22:00-6:30' };
  for (const time of ['22:00', '23:59', '00:00', '06:29']) assert.deepEqual(on(night, at(time)), [], time);
  for (const time of ['06:30', '12:00', '21:59']) assert.equal(on(night, at(time)).length, 1, time);
  assert.deepEqual(on({ hours: '9-17' }, at('16:59')), []);
  assert.deepEqual(on({ hours: '9-17' }, at('17:00')), ['it is 17:00, and not between 9-17']);
  assert.deepEqual(on({ hours: '20 - 24' }, at('23:59')), []);
  for (const hours of ['22', '22-25', '1:60-2', 'night', '5-5', '1-2-3', '-', '22:00–'])
    assert.throws(() => checkRules({ hours }), { code: 'usage' }, hours);
});

it('somebody who uses it is waited for', () => {
  assert.deepEqual(on({ idle: 300 }), ['somebody used it less than 5 min 00 s ago']);
  assert.deepEqual(on({ idle: 100 }), []);
});

it('what the device does not tell is no reason to run, and is refused where somebody waits for it', () => {
  const rules = { whileCharging: true, minBattery: 5, maxCelsius: 40, idle: 60 };
  const nothing = { battery: undefined, processorCelsius: undefined, idleSeconds: undefined };
  const found = broken(rules, reading(nothing), { wasRunning: true });
  assert.deepEqual(
    found.map(({ rule }) => rule),
    Object.keys(rules),
  );
  assert.doesNotMatch(waitsBecause(found), /by itself/);
  const told = broken(rules, reading(), { wasRunning: true });
  assert.match(waitsBecause([...told, ...told]), /^waits: it is not charging .*; it goes on by itself$/);
  assert.throws(() => requireTold(rules, reading(nothing)), { code: 'unsupported' });
  requireTold(rules, reading());
});
