// Loam against PEFT on one machine in one run: held-out NLL (nats a response token) and wall time, on the same token sequences.
// PEFT loads the GGUF dequantised, LoRA r8 on all linears, AdamW 2e-3, batch 8, one epoch; loading and measuring are not counted
// for it, everything is for Loam.
//
//   pip install torch transformers peft gguf
//   npm run build && node bench/againstPeft.mjs TRAIN.json HELDOUT.json [--method ridge] [--python python3] [--epochs 1] [--dtype float32]
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveModel } from '../dist/catalog/resolveModel.js';
import { readGguf } from '../dist/gguf/readGguf.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { prepareData } from '../dist/tune/prepare.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'smollm2-135m' },
    method: { type: 'string', default: 'ridge' },
    python: { type: 'string', default: 'python3' },
    epochs: { type: 'string', default: '1' },
    dtype: { type: 'string', default: 'float32' },
    threads: { type: 'string', default: '2' },
  },
});
const [data, heldout] = positionals;
if (!data || !heldout) throw new Error('usage: node bench/againstPeft.mjs TRAIN.json HELDOUT.json');
const { path } = await resolveModel(values.model);
const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const out = join(folder, 'adapter.gguf');
  const args = ['tune', data, '--heldout', heldout, '--model', path, '--method', values.method, '--out', out, '--json'];
  const ours = (
    await lines(process.execPath, [join(import.meta.dirname, '../bin/loam.js'), ...args, '--threads', values.threads])
  ).at(-1);
  console.log(
    `loam ${values.method}: base ${ours.nll.base.toFixed(3)} -> ${ours.nll.adapted.toFixed(3)} in ${ours.seconds.toFixed(0)} s`,
  );

  const tokenizer = await Tokenizer.open(await readGguf(path));
  const prepared = await prepareData(tokenizer, { data, heldout, maxTokens: 2048, seed: 1 }, () => {});
  tokenizer[Symbol.dispose]();
  const plain = (list) => list.map(({ tokens, targets }) => ({ tokens: [...tokens], targets: [...targets] }));
  const job = {
    model: path,
    train: plain([...prepared.train, ...prepared.validation]),
    heldout: plain(prepared.heldout),
    epochs: Number(values.epochs),
    batch: 8,
    rank: 8,
    lr: 2e-3,
    dtype: values.dtype,
    threads: Number(values.threads),
    seed: 1,
  };
  for (const { epoch, seconds, tokens, nll } of await lines(
    values.python,
    [join(import.meta.dirname, 'peft_lora.py')],
    JSON.stringify(job),
  )) {
    const speed =
      epoch > 0
        ? `, ${(tokens / seconds).toFixed(0)} tokens/s; loam took ${(ours.seconds / seconds).toFixed(2)}x the time`
        : '';
    console.log(`PEFT ${values.dtype}, epoch ${epoch}: ${nll.toFixed(3)} in ${seconds.toFixed(0)} s${speed}`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Runs a program and parses its lines of JSON. */
async function lines(command, args, input = '') {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(input);
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const code = child.exitCode ?? (await new Promise((done) => child.once('exit', done)));
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
