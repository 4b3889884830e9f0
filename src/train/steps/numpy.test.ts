import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeExamples } from '../../examples/encode.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { toFloat64 } from '../../formats/arrays.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import { readNpy } from '../../formats/npy.js';
import { measureNll } from '../../llama/measureNll.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { Bench } from '../../testing/pipeline.js';
import { findPython } from '../../testing/python.js';
import { readFactors } from './factorsFolder.js';

/** The listing of docs/pipeline.md, run as it stands: NumPy in the place of `loam solve`. */

const python = findPython('numpy');
const bench = new Bench();
const root = new URL('../../../', import.meta.url);

/** The listing, with the loam of this checkout. */
function listing(): string {
  const document = readFileSync(new URL('docs/pipeline.md', root), 'utf8');
  const [, code] = /```python\n([\s\S]*?)```/.exec(document)!;
  const command = [process.execPath, fileURLToPath(new URL('bin/loam.js', root))];
  // One thread: on a busy machine several wait for one another.
  const changes = [
    ['["npx", "loam"]', JSON.stringify(command)],
    ['"--out", step]', '"--out", step, "--threads", "1"]'],
  ] as const;
  return changes.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), from);
    return text.replace(from, to);
  }, code!);
}

/** Relative difference of two matrices, in the Frobenius norm. */
function difference(one: Float64Array, other: Float64Array): number {
  let [error, size] = [0, 0];
  one.forEach((x, i) => {
    error += (x - other[i]!) ** 2;
    size += x ** 2;
  });
  return Math.sqrt(error / size);
}

it('NumPy finds what Loam finds', { skip: typeof python === 'string' && python }, async () => {
  if (typeof python === 'string') return;
  const model = await bench.model(2);
  const data = bench.data(40);
  await bench.embed(data, 'e.npz');
  await bench.solve('e.npz', 'loam', { sweeps: 0 });
  await python.run(listing(), bench.path('e.npz'), bench.path('numpy'));

  const [ours, theirs] = [await readFactors(bench.path('loam')), await readFactors(bench.path('numpy'))];
  assert.deepEqual(
    theirs.linears.map(({ layer, module }) => [layer, module]),
    ours.linears.map(({ layer, module }) => [layer, module]),
  );
  // The first linear is solved from the same rows, so the factors themselves can be compared: here for the rank and λ that Loam chose.
  const [first] = ours.linears;
  const name = `blk.${first!.layer}.${first!.module}`;
  const script = `${listing().split('activations, folder')[0]}
E = np.load(sys.argv[1])
train = E["split"][E["row_sequence"]] == 0
X = E[sys.argv[2] + ".inputs"].astype(float); Y = E[sys.argv[2] + ".teacher"].astype(float) - E[sys.argv[2] + ".student"]
A, B = reduced_rank_ridge(X[train], Y[train], int(sys.argv[3]), float(sys.argv[4]))
np.save(sys.argv[5], B @ A)
explained = lambda rows: 1 - ((Y[rows] - X[rows] @ A.T @ B.T) ** 2).sum() / (Y[rows] ** 2).sum()
print(json.dumps([explained(train), explained(~train)]))`;
  const { rank, a, b, inputs, outputs } = first!.factors;
  const printed = await python.run(
    script,
    bench.path('e.npz'),
    name,
    `${rank}`,
    `${first!.lambda}`,
    bench.path('w.npy'),
  );
  const expected = toFloat64(await readNpy(bench.path('w.npy')));
  const found = new Float64Array(outputs * inputs);
  for (let o = 0; o < outputs; o++) {
    for (let k = 0; k < rank; k++) {
      for (let i = 0; i < inputs; i++) found[o * inputs + i]! += b[o * rank + k]! * a[k * inputs + i]!;
    }
  }
  const off = difference(expected, found);
  // Rows are rounded to 8 bits: half of 1/127 of the largest of 32 values.
  assert.ok(off < 0.02, `ΔW is ${off} off`);
  const [train, validation] = JSON.parse(printed) as [number, number];
  assert.ok(Math.abs(train - first!.explained!.train!) < 5e-3, `${train}, ${first!.explained!.train}`);
  assert.ok(Math.abs(validation - first!.explained!.validation!) < 5e-3);

  await bench.pack('loam', 'loam.gguf');
  await bench.pack('numpy', 'numpy.gguf');
  using tokenizer = await Tokenizer.open(await readGguf(model));
  const { examples } = await loadDataset(data);
  const { sequences } = await encodeExamples(tokenizer, examples, { maxTokens: 512 });
  const nll = async (file: string) => await measureNll(model, bench.path(file), sequences, { threads: 1 });
  const [one, other] = [await nll('loam.gguf'), await nll('numpy.gguf')];
  const change = Math.abs(one.adapted! - one.base);
  assert.ok(change > 0.1, 'the adapter does something');
  assert.ok(Math.abs(one.adapted! - other.adapted!) < 0.05 * change, `${one.adapted}, NumPy ${other.adapted}`);
});
