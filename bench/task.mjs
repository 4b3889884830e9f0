// What the benches of tasks share: an adapter is trained on a file, and base and adapter answer the questions of another one.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../dist/base/random.js';
import { loadDataset } from '../dist/examples/loadDataset.js';
import { program } from './program.mjs';

/** A folder that is gone afterwards. */
export async function inFolder(work) {
  const folder = await mkdtemp(join(tmpdir(), 'loam-task-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The questions and answers of a file of pairs, as [question, answer]. */
export async function readPairs(path, columns) {
  const { examples } = await loadDataset(path, { columns });
  return examples.map(({ messages }) => [messages.at(-2).content, messages.at(-1).content]);
}

export const shuffle = (list, seed) => new Random(seed, 0xbe7c).shuffle(list);

export async function writeRecords(path, records) {
  await writeFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
}

/** Runs loam; its last JSON line. What it says to people goes to stderr, as it comes. */
export async function loam(args) {
  const child = spawn(process.execPath, [program, ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out = (out + text).slice(-1_000_000);
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`loam ${args[0]} ended with ${code}`);
  return JSON.parse(out.trimEnd().split('\n').at(-1));
}

const percent = ({ mean, low, high }) =>
  `${(100 * mean).toFixed(1)} (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;

/** A line for each measure: base, adapter, difference. */
export function printMeasures(title, { questions, measures, seconds }) {
  console.log(`${title}: ${questions} questions, ${seconds.toFixed(0)} s`);
  for (const { name, questions, base, adapted, difference } of measures) {
    const more = adapted ? `, adapter ${percent(adapted)}, difference ${percent(difference)}` : '';
    console.log(`  ${name}, ${questions}: base ${percent(base)}${more}`);
  }
}

/** What a training run says of its gain and its price. */
export function printTraining({ nll, general, seconds, steps }) {
  console.log(
    `trained in ${seconds.toFixed(0)} s, ${steps} steps; held-out loss ${nll.base.toFixed(3)} -> ${nll.adapted.toFixed(3)}`,
  );
  if (!general) return;
  const { questions, nll: loss, right } = general;
  console.log(
    `what was lost: general loss ${loss.base.toFixed(3)} -> ${loss.adapted.toFixed(3)}, right ${right.base} -> ${right.adapted} of ${questions}`,
  );
}
