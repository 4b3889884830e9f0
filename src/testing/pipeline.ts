import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Run } from '../base/events.js';
import { defaults } from '../base/options.js';
import { openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { embed } from '../train/steps/embed.js';
import { embedStep } from '../train/steps/embedStep.js';
import {
  type EmbedResult,
  embedOptions,
  type PackResult,
  type PipelineEvent,
  packOptions,
  type SolveResult,
  solveOptions,
} from '../train/steps/options.js';
import { pack } from '../train/steps/pack.js';
import { solve } from '../train/steps/solve.js';
import { scratchFolder } from './scratch.js';
import { type TinyModelOptions, writeTinyModel } from './tinyModel.js';

/** What the tests of the pipeline share: a tiny model, examples, and the steps run to their ends. */

/** Threads of a busy machine wait for one another, and these models are too small for two. */
export const threads = 1;

/** Examples with different questions and few different answers. */
export function sayings(n: number, from = 0) {
  return Array.from({ length: n }, (_, i) => ({
    instruction: `Say number ${from + i}`,
    input: '',
    output: `the thing in the ${['inn', 'inner tin', 'theatre'][i % 3]}`,
  }));
}

/** A folder with a tiny model of which the upper half is adapted, a file of examples, and room for what the steps write. */
export class Bench {
  readonly folder = scratchFolder();
  readonly events: PipelineEvent[] = [];

  constructor() {
    // `tune` keeps figures of its runs there.
    process.env.LOAM_HOME = join(this.folder, 'home');
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  model(layers = 4, options: TinyModelOptions = {}): Promise<string> {
    return writeTinyModel(this.path('tiny.gguf'), { layers, ...options });
  }

  data(n: number, name = 'data.json'): string {
    writeFileSync(this.path(name), JSON.stringify(sayings(n)));
    return this.path(name);
  }

  embed(data: string, out: string, options: Partial<Parameters<typeof embed>[1]> = {}): Promise<EmbedResult> {
    const model = this.path('tiny.gguf');
    return this.end(embed(data, { ...defaults(embedOptions), threads, model, out: this.path(out), ...options }));
  }

  step(file: string, folder: string, out: string, linear?: string): Promise<EmbedResult> {
    const options = { ...defaults(embedOptions), threads, with: this.path(folder), out: this.path(out), linear };
    return this.end(embedStep(this.path(file), options));
  }

  solve(file: string, out: string, options: Partial<Parameters<typeof solve>[1]> = {}): Promise<SolveResult> {
    return this.end(solve(this.path(file), { ...defaults(solveOptions), threads, out: this.path(out), ...options }));
  }

  pack(folder: string, out: string, options: Partial<Parameters<typeof pack>[1]> = {}): Promise<PackResult> {
    return this.end(pack(this.path(folder), { ...defaults(packOptions), out: this.path(out), ...options }));
  }

  /** A copy of a folder of factors whose list has other entries. */
  part(folder: string, copy: string, linears: unknown[]): string {
    cpSync(this.path(folder), this.path(copy), { recursive: true });
    this.edit(copy, (map) => {
      map.linears = linears;
    });
    return this.path(copy);
  }

  /** Changes `factors.json`. */
  edit(folder: string, change: (map: Record<string, unknown>) => void): void {
    const path = this.path(folder, 'factors.json');
    const map = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    change(map);
    writeFileSync(path, JSON.stringify(map));
  }

  /** Runs a long operation; its events join `events`. */
  async end<R>(run: Run<PipelineEvent, R>): Promise<R> {
    for await (const event of run) this.events.push(event);
    return await run.result;
  }

  /** The arrays of a folder of factors, by name, as hashes. */
  arrays(folder: string): Record<string, string> {
    const names = readdirSync(this.path(folder)).filter((name) => name.endsWith('.npy'));
    const hash = (name: string) =>
      createHash('sha256')
        .update(readFileSync(this.path(folder, name)))
        .digest('hex');
    return Object.fromEntries(names.sort().map((name) => [name, hash(name)]));
  }

  /** The tensors of a GGUF file, by name, as hashes. */
  async tensors(file: string): Promise<Record<string, string>> {
    const gguf = await readGguf(this.path(file));
    await using tensors = await openTensors(gguf);
    const found: Record<string, string> = {};
    for (const name of gguf.tensors.keys()) {
      found[name] = createHash('sha256')
        .update(await tensors.read(name))
        .digest('hex');
    }
    return found;
  }
}
