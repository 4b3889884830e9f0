import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase } from '../adapter/describeBase.js';
import { ggufBase } from '../adapter/LoraBase.js';
import { writePeft } from '../adapter/peft/writePeft.js';
import { readCheckedLora } from '../adapter/readAdapter.js';
import { writeAdapter } from '../adapter/writeAdapter.js';
import { readGguf } from '../gguf/readGguf.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { Tokenizer } from '../model/tokenizer.js';
import { LoamError } from '../util/errors.js';
import { eventStream } from '../util/eventStream.js';
import { requireFree } from '../util/requireFree.js';
import { requireWritable } from '../util/requireWritable.js';
import { version } from '../util/version.js';
import type { PackResult, PipelineEvent } from './events.js';
import { layerMapName, readFactors } from './factorsFolder.js';
import type { PackOptions } from './options.js';
import { requireOut } from './requireOut.js';
import { resolveBase } from './resolveBase.js';

/**
 * Last step of the pipeline: factors to an adapter, as LoRA GGUF for llama.cpp and as a folder for PEFT (docs/pipeline.md). The
 * GGUF file has the tensors that `tune` writes for the same factors; the folder for PEFT holds the same values. Nothing is measured:
 * `loam eval` does that.
 *
 * @param folder of factors, by `solve` or by anything that writes .npy
 */
export function pack(
  folder: string,
  options: PackOptions,
  signal?: AbortSignal,
): AsyncGenerator<PipelineEvent, PackResult, void> {
  return eventStream<PipelineEvent, PackResult>((emit, inner) => run(folder, options, emit, inner), signal);
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
  let base: Awaited<ReturnType<typeof openBase>> | undefined;
  const { linears, recipe } = await readFactors(folder, async (named) => {
    base = await openBase(options.model, named ?? {}, join(folder, layerMapName), emit, signal);
    await requireFree(out, [base.path]);
    return base.hyper;
  });
  const { gguf, hyper, sha256, path } = base!;
  if (!linears.some(({ factors }) => factors.rank > 0)) {
    throw new LoamError({
      found: 'no correction of a rank above 0',
      where: folder,
      fix: 'solve with other examples or another --lambda',
    });
  }
  using tokenizer = await Tokenizer.open(gguf);
  const rank = Math.max(...linears.map(({ factors }) => factors.rank));
  const alpha = options.alpha ?? rank;
  await writeAdapter(out, {
    ...(await describeBase(gguf, tokenizer, sha256)),
    modules: linears,
    alpha,
    name: basename(out, extname(out)),
    recipe: { ...recipe, alpha: options.alpha },
    metrics: {},
    version,
  });
  // Out of the file as written: both hold the same values, bit for bit.
  const { lora } = await readCheckedLora(out, { gguf, hyper });
  await writePeft(peft, lora, ggufBase(path, hyper));
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

async function openBase(...request: Parameters<typeof resolveBase>) {
  const source = await resolveBase(...request);
  const gguf = await readGguf(source.path);
  return { ...source, gguf, hyper: readHyperparameters(gguf) };
}
