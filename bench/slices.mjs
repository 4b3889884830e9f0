// Ridge whose layers libllama computes, slice by slice, beside ridge on our own graph: the same examples, settings and solver. Held-out NLL
// in stock libllama, seconds of the processor, wall time, and peak resident memory of a process of its own.
//
// The NLL of a model of random weights says nothing.
//
//   npm run build && node bench/slices.mjs TRAIN.json HELDOUT.json [--model M | random:SHAPE]... [--seeds 1,2,3] [--threads 1] [--sweeps N] [--ways own,slices]
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describeBase } from '../dist/adapters/base.js';
import { writeAdapter } from '../dist/adapters/loraGguf.js';
import { peakRss } from '../dist/base/memory.js';
import { openTensors } from '../dist/formats/gguf/Gguf.js';
import { measureNll } from '../dist/llama/measureNll.js';
import { surveyModel } from '../dist/model/slices/survey.js';
import { surveyTokens } from '../dist/model/slices/surveyApart.js';
import { resolveModel } from '../dist/models/listModels.js';
import { openRun } from '../dist/train/lab.js';
import { replaySet } from '../dist/train/replaySet.js';
import { planExamples } from '../dist/train/ridge/examples.js';
import { fitRidge } from '../dist/train/ridge/fitRidge.js';
import { ridgePreset, ridgeSettings } from '../dist/train/settings.js';
import { fitSlices } from '../dist/train/slices/fitSlices.js';
import { commandLine } from './program.mjs';
import { gemma270m, tinyLlama, writeRandomModel } from './randomModel.mjs';

const { values, positionals } = commandLine({
  /** Several: each in turn. */
  model: { type: 'string', multiple: true },
  seeds: { type: 'string', default: '1,2,3' },
  threads: { type: 'string', default: '1' },
  sweeps: { type: 'string' },
  ways: { type: 'string', default: 'own,slices' },
  /** Within a process of its own. */
  one: { type: 'boolean', default: false },
});
const [data, heldout] = positionals;
if (!data || !heldout) throw new Error('usage: node bench/slices.mjs TRAIN.json HELDOUT.json');

const maxTokens = 2048;
/** Of a ridge: as they are if nobody says otherwise. */
const asDefault = { rank: undefined, layers: undefined, lambda: undefined, sweeps: undefined };

async function one(way, seed) {
  const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
  let run;
  try {
    const source = await resolveModel(values.model?.[0]);
    const options = { seed, maxTokens, threads: Number(values.threads), scratch: folder };
    const signal = new AbortController().signal;
    run = await openRun(source, { data, heldout }, options, () => {}, signal);
    const { model, tokenizer } = run;
    const preset = { ...ridgePreset, sweeps: Number(values.sweeps ?? ridgePreset.sweeps) };
    const problem = await planExamples(run, { seed, shots: undefined }, preset, await replaySet(run, { replay: 0.5 }));
    const settings = ridgeSettings(model.hyper.layers, asDefault, preset);
    const context = { model, emit() {}, signal };
    const [started, before] = [performance.now(), process.cpuUsage()];
    let fit;
    let surveyed = 0;
    if (way === 'own') fit = await fitRidge(context, problem, settings);
    else {
      const file = await openTensors(model.gguf);
      const from = { gguf: model.gguf, file, folder, threads: Number(values.threads) };
      const survey = await surveyModel(from, surveyTokens(model.gguf, maxTokens));
      await file[Symbol.asyncDispose]();
      surveyed = (performance.now() - started) / 1000;
      fit = await fitSlices(context, problem, settings, { survey, hasHead: true });
    }
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(before);
    const rss = peakRss();
    const adapter = join(folder, 'adapter.gguf');
    const base = await describeBase(model.gguf, tokenizer, '');
    await writeAdapter(adapter, { base, modules: fit.modules, alpha: 64, name: 'bench', recipe: {}, metrics: {} });
    const nll = await measureNll(source.path, adapter, run.data.heldout, { threads: Number(values.threads) });
    const { teacher, student } = fit.nll;
    const figures = {
      nll: nll.adapted,
      base: nll.base,
      teacher: teacher.heldout,
      validation: student.validation,
      sweeps: fit.sweeps,
    };
    console.log(JSON.stringify({ way, seed, ...figures, seconds, cpu: (user + system) / 1e6, surveyed, rss }));
  } finally {
    await run?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  }
}

const shapes = { 'random:gemma270m': gemma270m, 'random:tinyLlama': tinyLlama };

/** Each seed, own and slices in turn, each in a process of its own. @returns a row of the table for each way */
async function compare(model) {
  const found = [];
  for (const seed of values.seeds.split(',')) {
    for (const way of values.ways.split(',')) {
      const args = [import.meta.filename, data, heldout, '--one', '--ways', way, '--seeds', seed];
      args.push('--threads', values.threads);
      if (model !== undefined) args.push('--model', model.path);
      if (values.sweeps !== undefined) args.push('--sweeps', values.sweeps);
      const { stdout } = await promisify(execFile)(process.execPath, args);
      const line = JSON.parse(stdout.trim().split('\n').at(-1));
      found.push(line);
      console.log(
        `${model?.name ?? ''} ${way}, seed ${seed}: held-out NLL ${line.nll.toFixed(4)} (base ${line.base.toFixed(4)}, teacher ${line.teacher.toFixed(4)}), ${line.cpu.toFixed(0)} s of the processor, peak ${(line.rss / 1e6).toFixed(0)} MB`,
      );
    }
  }
  return values.ways.split(',').map((way) => {
    const own = found.filter((line) => line.way === way);
    const mean = (key) => own.reduce((sum, line) => sum + line[key], 0) / own.length;
    const cells = [
      model?.name ?? 'default',
      way,
      mean('nll').toFixed(4),
      mean('sweeps').toFixed(1),
      mean('cpu').toFixed(0),
    ];
    return [...cells, mean('seconds').toFixed(0), Math.round(Math.max(...own.map(({ rss }) => rss)) / 1e6)];
  });
}

if (values.one) await one(values.ways, Number(values.seeds));
else {
  const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
  try {
    const rows = [];
    for (const name of values.model ?? [undefined]) {
      const shape = name && Object.hasOwn(shapes, name) ? shapes[name] : undefined;
      const path = shape ? join(folder, 'random.gguf') : name;
      if (shape) await writeRandomModel(path, (await resolveModel(undefined)).path, shape);
      rows.push(...(await compare(name && { name, path })));
    }
    const head = ['model', 'way', 'held-out NLL', 'sweeps', 's of the processor', 's', 'peak MB'];
    for (const row of [head, head.map(() => '---'), ...rows]) console.log(`| ${row.join(' | ')} |`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
