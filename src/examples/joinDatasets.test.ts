import assert from 'node:assert/strict';
import { it } from 'node:test';
import { joinDatasets, listSources } from './joinDatasets.js';
import { loadDataset } from './loadDataset.js';

const read = (name: string, pairs: readonly [string, string][]) =>
  loadDataset({
    name,
    bytes: Buffer.from(JSON.stringify(pairs.map(([instruction, output]) => ({ instruction, output })))),
  });

it('several files are one set in which each example is once; one alone is as it was', async () => {
  const a = await read('a.json', [
    ['q', 'a'],
    ['r', 'b'],
  ]);
  const b = await read('b.json', [
    ['r', 'b'],
    ['r', 'c'],
  ]);
  assert.equal(joinDatasets([a]).dataset, a);
  const { dataset, repeated } = joinDatasets([a, b]);
  assert.deepEqual(
    dataset.examples.map(({ messages, source }) => [source.file, messages.at(-1)!.content]),
    [
      ['a.json', 'a'],
      ['a.json', 'b'],
      ['b.json', 'c'],
    ],
  );
  assert.deepEqual([repeated, dataset.records, dataset.file], [1, 4, 'a.json and 1 more']);
  assert.notEqual(joinDatasets([b, a]).dataset.sha256, dataset.sha256);
  assert.deepEqual([listSources('a'), listSources(['a', 'b'])], [['a'], ['a', 'b']]);
});
