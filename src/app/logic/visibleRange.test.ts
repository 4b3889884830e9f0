import assert from 'node:assert/strict';
import { test } from 'node:test';
import { visibleRange } from './visibleRange.js';

test('every row that is in view is in the range, and few others', () => {
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

test('an empty list has no rows', () => {
  assert.deepEqual(visibleRange({ top: 0, height: 780 }, { rows: 0, rowHeight: 92 }), { from: 0, to: 0 });
});
