import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { fitSubject, isAbout, readSubject, writeSubject } from './subject.js';

const random = new Random(1);
const width = 12;
/** Around a point. */
const cloud = (n: number, at: number) =>
  Array.from({ length: n }, () => Float32Array.from({ length: width }, (_, i) => random.normal() + (i < 2 ? at : 0)));

describe('what questions are about', () => {
  const [own, general] = [cloud(40, 2), cloud(100, -2)];
  const subject = fitSubject(own, general);

  it('is a plane between both kinds, also for questions that it has not seen', () => {
    const share = (list: Float32Array[]) => list.filter((vector) => isAbout(subject, vector)).length / list.length;
    assert.ok(share(cloud(200, 2)) > 0.97);
    assert.ok(share(cloud(200, -2)) < 0.03);
  });

  it('solves the normal equations: the gradient of the weighted squares and the ridge is zero', () => {
    const { weights, bias } = subject;
    const score = (x: Float32Array) => weights.reduce((sum, w, i) => sum + w * x[i]!, bias);
    const mean = (list: Float32Array[], i: number) => list.reduce((sum, x) => sum + x[i]!, 0) / list.length;
    const centre = Array.from({ length: width }, (_, i) => (mean(own, i) + mean(general, i)) / 2);
    const size =
      [own, general].reduce(
        (sum, list) =>
          sum + list.reduce((s, x) => s + x.reduce((t, v, i) => t + (v - centre[i]!) ** 2, 0), 0) / list.length,
        0,
      ) / 2;
    for (let i = 0; i < width; i++) {
      const of = (list: Float32Array[], wanted: number) =>
        list.reduce((sum, x) => sum + (score(x) - wanted) * (x[i]! - centre[i]!), 0) / list.length;
      const gradient = of(own, 1) + of(general, -1) + 0.1 * size * weights[i]!;
      assert.ok(Math.abs(gradient) < 1e-5 * size, `${gradient}`);
    }
  });

  it('is read as it was written, and anything else is none', () => {
    const read = readSubject(writeSubject(subject), width)!;
    assert.deepEqual([read.weights, read.bias], [subject.weights, subject.bias]);
    const broken = [
      undefined,
      '',
      'null',
      '[]',
      '{"weights":1,"bias":0}',
      '{"weights":"AAA","bias":0}',
      '{"weights":""}',
    ];
    for (const note of broken) assert.equal(readSubject(note, width), undefined, note);
    assert.equal(readSubject(writeSubject(subject), width + 1), undefined);
    assert.equal(readSubject(writeSubject({ ...subject, bias: Number.NaN }), width), undefined);
  });
});
