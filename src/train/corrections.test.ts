import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { Corrections } from './corrections.js';

const root = scratchFolder();
const newPath = () => join(mkdtempSync(join(root, 'home-')), 'device.json');
const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9 * b, `${a}, expected ${b}`);

describe('Corrections', () => {
  it('corrects nothing before anything was learnt', async () => {
    const corrections = await Corrections.open(newPath());
    assert.equal(corrections.correctionFor('time'), 1);
  });

  it('learns the first run in full, keeps keys apart and remembers', async () => {
    const path = newPath();
    const corrections = await Corrections.open(path);
    assert.equal(await corrections.learn('time', 100, 150), true);
    await corrections.learn('__proto__', 100, 50);
    for (const one of [corrections, await Corrections.open(path)]) {
      close(one.correctionFor('time'), 1.5);
      close(one.correctionFor('__proto__'), 0.5);
      assert.equal(one.correctionFor('memory'), 1);
      assert.equal(one.correctionFor('toString'), 1);
    }
  });

  it('is the geometric mean of the first two, and comes to what stays the same', async () => {
    const corrections = await Corrections.open(newPath());
    await corrections.learn('time', 1, 2);
    await corrections.learn('time', 1, 0.5);
    close(corrections.correctionFor('time'), 1);
    for (let i = 0; i < 40; i++) await corrections.learn('time', 10, 13);
    assert.ok(Math.abs(corrections.correctionFor('time') - 1.3) < 1e-4);
  });

  it('stays within a quarter and four times, and gets over one wild run', async () => {
    const corrections = await Corrections.open(newPath());
    for (const [ratio, bound] of [
      [1e6, 4],
      [1e-6, 0.25],
    ] as const) {
      for (let i = 0; i < 30; i++) await corrections.learn(`to ${bound}`, 1, ratio);
      assert.ok(Math.abs(Math.log(corrections.correctionFor(`to ${bound}`) / bound)) < 1e-3);
    }
    for (let i = 0; i < 8; i++) await corrections.learn('slept', 1, 1);
    await corrections.learn('slept', 1, 1e9);
    assert.ok(corrections.correctionFor('slept') < 1.6);
  });

  it('learns what a device takes as it is', async () => {
    const path = newPath();
    const corrections = await Corrections.open(path);
    assert.equal(corrections.rate('watts'), undefined);
    await corrections.learnRate('watts', 150);
    await corrections.learnRate('drain', 22);
    const again = await Corrections.open(path);
    close(again.rate('watts')!, 150);
    close(again.rate('drain')!, 22);
    await again.learnRate('drain', 22 * 4);
    close(again.rate('drain')!, 44);
  });

  it('passes over what is no figure', async () => {
    const corrections = await Corrections.open(newPath());
    for (const [quoted, truth] of [
      [0, 1],
      [1, 0],
      [-1, 1],
      [Number.NaN, 1],
      [1, Number.NaN],
      [1, Number.POSITIVE_INFINITY],
      [Number.POSITIVE_INFINITY, 1],
    ] as const) {
      assert.equal(await corrections.learn('time', quoted, truth), false);
    }
    assert.equal(corrections.correctionFor('time'), 1);
  });

  for (const text of [
    '',
    'null',
    '[]',
    '{"version": 1',
    '{"version": 2, "devices": {"this": {"time": {"factor": 2, "runs": 1}}}}',
    '{"version": 1}',
    '{"version": 1, "devices": {"this": null}}',
    '{"version": 1, "devices": {"this": {"time": null}}}',
    '{"version": 1, "devices": {"this": {"time": {"factor": 1e9, "runs": 1}}}}',
    '{"version": 1, "devices": {"this": {"time": {"factor": "2", "runs": 1}}}}',
    '{"version": 1, "devices": {"this": {"time": {"factor": 2, "runs": 0}}}}',
    `"${'x'.repeat(2 << 20)}"`,
  ]) {
    it(`ignores and replaces a file of ${text.slice(0, 80)}`, async () => {
      const path = newPath();
      writeFileSync(path, text);
      const corrections = await Corrections.open(path, 'this');
      assert.equal(corrections.correctionFor('time'), 1);
      assert.equal(await corrections.learn('time', 1, 2), true);
      close((await Corrections.open(path, 'this')).correctionFor('time'), 2);
    });
  }

  it('keeps what other devices and other processes have learnt', async () => {
    const path = newPath();
    const [laptop, phone] = [await Corrections.open(path, 'laptop'), await Corrections.open(path, 'phone')];
    await laptop.learn('time', 1, 2);
    await phone.learn('time', 1, 3);
    await laptop.learn('memory', 1, 1.5);
    const { version, devices } = JSON.parse(readFileSync(path, 'utf8'));
    assert.equal(version, 1);
    assert.deepEqual(Object.keys(devices), ['laptop', 'phone']);
    close((await Corrections.open(path, 'phone')).correctionFor('time'), 3);
    close((await Corrections.open(path, 'laptop')).correctionFor('time'), 2);
  });

  it('says that it could not write, and goes on', async () => {
    const path = newPath();
    mkdirSync(path);
    const corrections = await Corrections.open(path);
    assert.equal(await corrections.learn('time', 1, 2), false);
    close(corrections.correctionFor('time'), 2);
  });
});
