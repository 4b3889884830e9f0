import assert from 'node:assert/strict';
import { it } from 'node:test';
import { curveShape, visibleRange } from './geometry.js';

const size = { width: 320, height: 220 };
const train = Array.from({ length: 900 }, (_, i): [number, number] => [
  i + 1,
  1.5 + 2 * Math.exp(-i / 100) + 0.3 * Math.sin(i),
]);
const validation: [number, number][] = [
  [100, 2.5],
  [200, 2],
  [300, 1.9],
  [400, 2.1],
];

const coordinates = (path: string): [number, number][] =>
  [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);

it('every line stays inside the box', () => {
  const shape = curveShape({ train, validation, steps: 1800 }, size)!;
  for (const path of [shape.raw, shape.smooth, shape.area, shape.validation]) {
    const points = coordinates(path);
    assert.ok(points.length > 1);
    for (const [x, y] of points) assert.ok(x >= 0 && x <= size.width && y >= 0 && y <= size.height, `${x},${y}`);
  }
});

it('lower loss lies lower, later steps lie to the right', () => {
  const points = coordinates(curveShape({ train: [], validation }, size)!.validation);
  for (let i = 1; i < points.length; i++) {
    assert.ok(points[i]![0] > points[i - 1]![0]);
    // The y axis of SVG points down.
    assert.equal(points[i]![1] > points[i - 1]![1], validation[i]![1] < validation[i - 1]![1]);
  }
});

it('the best validation is marked', () => {
  const shape = curveShape({ train, validation }, size)!;
  assert.equal(shape.best!.value, 1.9);
  assert.ok(shape.validationPoints.some(({ x, y }) => x === shape.best!.x && y === shape.best!.y));
});

it('a single point, equal points and an infinite loss are drawn without NaN; nothing is no curve', () => {
  assert.equal(curveShape({ train: [], validation: [] }, size), undefined);
  const curves: [number, number][][] = [
    [[1, 2]],
    [
      [1, 2],
      [2, 2],
    ],
    [
      [1, Number.POSITIVE_INFINITY],
      [2, 2],
    ],
    [[1, 0]],
  ];
  for (const points of curves) {
    assert.doesNotMatch(JSON.stringify(curveShape({ train: points, validation: [] }, size)), /NaN|Infinity|null/);
  }
});

it('every row that is in view is in the range, and few others', () => {
  const [rows, rowHeight, height, spare] = [3000, 92, 780, 8];
  for (let top = -2000; top < rows * rowHeight + 2000; top += 37) {
    const { from, to } = visibleRange({ top, height }, { rows, rowHeight }, spare);
    assert.ok(from >= 0 && to <= rows && from <= to);
    for (const row of [0, 1, 17, 1500, 2998, 2999]) {
      const seen = (row + 1) * rowHeight > top && row * rowHeight < top + height;
      if (seen) assert.ok(row >= from && row < to, `row ${row} at ${top}`);
    }
    assert.ok(to - from <= Math.ceil(height / rowHeight) + 1 + 2 * spare);
  }
});

it('an empty list has no rows', () => {
  assert.deepEqual(visibleRange({ top: 0, height: 780 }, { rows: 0, rowHeight: 92 }), { from: 0, to: 0 });
});
