// What training by gradients costs as more layers are adapted: tokens a second and peak memory of `loam tune --method qlora` on a model
// of TinyLlama-1.1B's exact shape at Q4_0 (random weights) or on a model of yours, each number of layers in a process of its own.
//
//   npm run build && node bench/layers.mjs [DATA.json] [--model MODEL] [--layers 1,2,4,8] [--examples 32] [--threads N]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultThreads } from '../dist/engine/threads.js';
import { resolveModel } from '../dist/models/listModels.js';
import { commandLine, eventsOf, writeFirst } from './program.mjs';
import { writeRandomModel } from './randomModel.mjs';

const { values, positionals } = commandLine({
  model: { type: 'string' },
  layers: { type: 'string', default: '1,2,4,8' },
  examples: { type: 'string', default: '32' },
  threads: { type: 'string' },
});
const threads = values.threads ?? String(defaultThreads());
const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const model = values.model ? (await resolveModel(values.model)).path : join(folder, 'model.gguf');
  if (!values.model) await writeRandomModel(model, (await resolveModel()).path);
  const data = join(folder, 'data.json');
  await writeFirst(data, values.examples, positionals[0]);
  const rows = [];
  for (const layers of values.layers.split(',')) {
    const { steps, quote, peak } = await tune(model, data, layers);
    const speeds = steps.map((step) => step.tokensPerSecond).sort((a, b) => a - b);
    rows.push({ layers: Number(layers), speed: speeds[speeds.length >> 1], peak, quoted: quote.memoryBytes });
    const { speed } = rows.at(-1);
    console.log(
      `top ${layers.padStart(2)} layers: ${speed.toFixed(0).padStart(5)} tokens/s, peak memory ${(peak / 1e9).toFixed(2)} GB (quoted ${(quote.memoryBytes / 1e9).toFixed(2)})`,
    );
  }
  console.log(
    '\nseconds for a thousand tokens, an epoch (what enters the first adapted layer is computed once, before)',
  );
  const most = Math.max(...rows.map(({ speed }) => 1000 / speed));
  for (const { layers, speed } of rows) {
    const seconds = 1000 / speed;
    console.log(`${String(layers).padStart(3)} ${'#'.repeat(Math.round((50 * seconds) / most))} ${seconds.toFixed(2)}`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function tune(model, data, layers) {
  const out = join(folder, `top${layers}.gguf`);
  const args = ['tune', data, '--method', 'qlora', '--model', model, '--layers', `top:${layers}`, '--epochs', '1'];
  const events = await eventsOf([...args, '--threads', threads, '--out', out], {
    env: { ...process.env, LOAM_HOME: folder },
  });
  const steps = events.filter(({ type }) => type === 'step');
  if (steps.length === 0) throw new Error(JSON.stringify(events.at(-1)));
  // On random weights the adapter may not be kept, which is not what is measured here.
  const result = events.at(-1);
  const peak = result.peakRssBytes ?? Math.max(...steps.map(({ rssBytes }) => rssBytes));
  return { steps, quote: events.find(({ type }) => type === 'quote'), peak };
}
