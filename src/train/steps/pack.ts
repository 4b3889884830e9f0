import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase, type GgufBase, openBase } from '../../adapters/base.js';
import { writeAdapter } from '../../adapters/loraGguf.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { writePeft } from '../../adapters/peft/peft.js';
import { LoamError, UsageError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { requireFree, requireWritable } from '../../base/io.js';
import { version } from '../../base/process.js';
import type { ModuleFactors } from '../../model/factors.js';
import { type Hyperparameters, linearShape } from '../../model/hyperparameters.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { correctedLinears } from '../ridge/correctLayer.js';
import { layerMapName, readFactors } from './factorsFolder.js';
import type { ActivationsHeader, EmbeddedLinear } from './header.js';
import type { ActivationsFile } from './openActivations.js';
import { type PackOptions, type PackResult, type PipelineEvent, requireOut, resolveBase } from './options.js';

/**
 * Last step of the pipeline: factors to an adapter, as LoRA GGUF for llama.cpp and as a folder for PEFT (docs/pipeline.md). The
 * GGUF file has the tensors that `tune` writes for the same factors; the folder for PEFT holds the same values. Nothing is measured:
 * `loam eval` does that.
 *
 * @param folder of factors, by `solve` or by anything that writes .npy
 */
export function pack(folder: string, options: PackOptions, signal?: AbortSignal): Run<PipelineEvent, PackResult> {
  return new Run((emit, inner) => run(folder, options, emit, inner), signal);
}

async function run(
  folder: string,
  options: PackOptions,
  emit: (event: PipelineEvent) => void,
  signal: AbortSignal,
): Promise<PackResult> {
  const out = requireOut(options.out);
  const peft = resolve(options.peft ?? `${join(dirname(out), basename(out, extname(out)))}-peft`);
  await requireWritable(out);
  await requireWritable(join(peft, 'adapter_config.json'));
  let base: GgufBase | undefined;
  let sha256 = '';
  const { linears, recipe } = await readFactors(folder, async (named) => {
    const source = await resolveBase(options.model, named ?? {}, join(folder, layerMapName), emit, signal);
    await requireFree(out, [source.path]);
    sha256 = source.sha256;
    base = await openBase(source.path);
    return base.hyper;
  });
  if (!linears.some(({ factors }) => factors.rank > 0)) {
    throw new LoamError({
      found: 'no correction of a rank above 0',
      where: folder,
      fix: 'solve with other examples or another --lambda',
    });
  }
  using tokenizer = await Tokenizer.open(base!.gguf);
  const rank = Math.max(...linears.map(({ factors }) => factors.rank));
  const alpha = options.alpha ?? rank;
  await writeAdapter(out, {
    ...(await describeBase(base!.gguf, tokenizer, sha256)),
    modules: linears,
    alpha,
    name: basename(out, extname(out)),
    recipe: { ...recipe, alpha: options.alpha },
    metrics: {},
    version,
  });
  // Out of the file as written: both hold the same values, bit for bit.
  await writePeft(peft, await openAdapter(out, base!), base!);
  return {
    type: 'result',
    adapter: out,
    peft,
    linears: linears.length,
    rank,
    alpha,
    bytes: (await stat(out)).size,
  };
}

/**
 * Holds a file of activations against the model that is to read its tokens: native code looks tokens up without a check of its own.
 * @throws LoamError
 */
export function requireTokens({ path, header, examples }: ActivationsFile, hyper: Hyperparameters): void {
  const fail = (found: string, expected: string): never => {
    throw new LoamError({ found, expected, where: path, fix: 'make the file again with `loam embed`' });
  };
  if (header.layers !== hyper.layers || header.embedding !== hyper.embedding) {
    fail(
      `activations of ${header.layers} layers of width ${header.embedding}`,
      `${hyper.layers} of ${hyper.embedding}, as the model has`,
    );
  }
  for (const [i, { student }] of examples.entries()) {
    if (student.tokens.length > hyper.contextLength) {
      fail(`sequence ${i} has ${student.tokens.length} tokens`, `at most ${hyper.contextLength}`);
    }
    for (const token of student.tokens) {
      if (token < 0 || token >= hyper.vocabulary) fail(`token ${token}`, `one of ${hyper.vocabulary}`);
    }
  }
}

/** @throws LoamError for corrections that the student does not wear while it is walked: of other linears, or of other shapes */
export function requireCorrectable(
  given: readonly ModuleFactors[],
  { linears, firstLayer }: ActivationsHeader,
  hyper: Hyperparameters,
  folder: string,
): void {
  for (const { layer, module, factors } of given) {
    const where = `${folder}, blk.${layer}.${module}`;
    if (!linears.some((linear) => linear.layer === layer && linear.module === module)) {
      throw new LoamError({
        found: 'a correction of this linear',
        expected: `of attn_output and ffn_down in layers ${firstLayer} and above only, as the activations are`,
        where,
        fix: 'use `loam pack` alone for others',
      });
    }
    const [inputs, outputs] = linearShape(hyper, module);
    if (factors.inputs === inputs && factors.outputs === outputs) continue;
    throw new LoamError({
      found: `a is [${factors.rank}, ${factors.inputs}] and b [${factors.outputs}, ${factors.rank}]`,
      expected: `[rank, ${inputs}] and [${outputs}, rank]`,
      where,
    });
  }
}

/** A linear by its weight's name, `blk.15.ffn_down`, among those that a file has. */
export function parseLinear(name: string, linears: readonly EmbeddedLinear[]): EmbeddedLinear {
  const match = /^(?:blk\.)?(\d{1,4})\.(\w+)$/.exec(name);
  const found = linears.find(({ layer, module }) => layer === Number(match?.[1]) && module === match?.[2]);
  if (found) return found;
  const [first, last] = [linears[0]!.layer, linears.at(-1)!.layer];
  throw new UsageError({
    found: JSON.stringify(name),
    expected: `blk.N.${correctedLinears[0]} or blk.N.${correctedLinears[1]}, N from ${first} to ${last}`,
    where: '--linear',
  });
}
