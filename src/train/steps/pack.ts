import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase, type GgufBase, openBase } from '../../adapters/base.js';
import { writeAdapter } from '../../adapters/loraGguf.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { writePeft } from '../../adapters/peft/peft.js';
import { LoamError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { requireFree, requireWritable } from '../../base/io.js';
import { isDay } from '../../model/strftime.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { requireSteps, resolveBase } from './base.js';
import { layerMapName, readFactors } from './factorsFolder.js';
import { type PackOptions, type PackResult, type PipelineEvent, requireOut } from './options.js';

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
    const source = await resolveBase(options.model, named ?? {}, join(folder, layerMapName), { emit, signal });
    await requireFree(out, [source.path]);
    sha256 = source.sha256;
    base = await openBase(source.path);
    requireSteps(base.hyper, source.path);
    return base.hyper;
  });
  if (!linears.some(({ factors }) => factors.rank > 0)) {
    throw new LoamError({
      code: 'no-gain',
      found: 'no correction of a rank above 0',
      where: folder,
      fix: 'solve with other examples or another --lambda',
    });
  }
  using tokenizer = await Tokenizer.open(base!.gguf, isDay(recipe.day) ? recipe.day : undefined);
  const rank = Math.max(...linears.map(({ factors }) => factors.rank));
  const alpha = options.alpha ?? rank;
  await writeAdapter(out, {
    base: await describeBase(base!.gguf, tokenizer, sha256),
    modules: linears,
    alpha,
    name: basename(out, extname(out)),
    recipe: { ...recipe, alpha: options.alpha },
    metrics: {},
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
