// What an adapter has lost of the rest, with replay and without: node bench/whatWasLost.mjs [voice|identity|FILE HELDOUT] [options]
//   --seeds 1,2,3   --replay 0,1 (default: 0 and the product's default)   --method qlora   --model smollm2-135m   --threads N   --runs N   --epochs N
// Trains every combination on bench/whatWasLost/ and measures it as every run does: held-out examples, then the bundled general
// questions, in stock libllama. An hour or more on a laptop for three seeds.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { lossOf, signed } from '../dist/base/lost.js';
import { defaults } from '../dist/base/options.js';
import { tuneOptions } from '../dist/train/options.js';
import { tune } from '../dist/train/tune.js';

const names = {
  seeds: '1,2,3',
  replay: `0,${tuneOptions.replay.default}`,
  method: 'qlora',
  model: tuneOptions.model.default,
};
const texts = ['seeds', 'replay', 'method', 'model', 'threads', 'runs', 'epochs'];
const { values, positionals } = parseArgs({
  options: Object.fromEntries(texts.map((name) => [name, { type: 'string', default: names[name] }])),
  allowPositionals: true,
});
const numbers = (text) => text.split(',').map(Number);
const set = (name) => fileURLToPath(new URL(`whatWasLost/${name}`, import.meta.url));
const [data, heldout] =
  positionals.length > 1
    ? positionals
    : ['train', 'heldout'].map((part) => set(`${positionals[0] ?? 'voice'}-${part}.json`));
const chosen = Object.fromEntries(
  ['threads', 'runs', 'epochs']
    .filter((name) => values[name] !== undefined)
    .map((name) => [name, Number(values[name])]),
);

const folder = mkdtempSync(join(tmpdir(), 'loam-lost-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rows = [];
console.log('replay  seed  held-out NLL        gain    general NLL       lost    right answers     seconds');
for (const replay of numbers(values.replay)) {
  for (const seed of numbers(values.seeds)) {
    const out = join(folder, `${replay}-${seed}.gguf`);
    const { model } = values;
    const method = /** @type {'qlora' | 'auto' | 'ridge'} */ (values.method);
    const options = { ...defaults(tuneOptions), ...chosen, method, model, heldout, out, seed, replay };
    const { nll, general, seconds } = await tune(data, options).result;
    const { nats, points } = lossOf(general);
    const gain = nll.base - nll.adapted;
    rows.push({ replay, gain, nats, points, seconds });
    const cells = [
      String(replay).padEnd(7),
      String(seed).padEnd(5),
      `${nll.base.toFixed(3)} -> ${nll.adapted.toFixed(3)}  `,
      gain.toFixed(3).padEnd(7),
      `${general.nll.base.toFixed(3)} -> ${general.nll.adapted.toFixed(3)}`,
      signed(nats, 3).padEnd(7),
      `${general.right.base} -> ${general.right.adapted} (${signed(-points, 0)})`.padEnd(17),
      seconds.toFixed(0),
    ];
    console.log(cells.join(' '));
  }
}
const [first] = numbers(values.replay);
for (const replay of numbers(values.replay)) {
  const of = (figure, which = replay) => median(rows.filter((row) => row.replay === which).map((row) => row[figure]));
  const kept = (100 * of('gain')) / of('gain', first);
  console.log(
    `replay ${replay}, median: gain ${of('gain').toFixed(3)} (${kept.toFixed(1)} % of that with ${first}), lost ${signed(of('nats'), 3)} nats per token, ${signed(-of('points'), 0)} points, ${(of('seconds') / of('seconds', first)).toFixed(2)} times as long`,
  );
}
