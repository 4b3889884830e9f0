import { openTensors } from '../../formats/gguf/Gguf.js';
import type { Model } from '../../model/model.js';
import { Slice } from '../../model/slices/slice.js';

/** Tokens that are read to measure. */
const tokens = 64;

/** Seconds in which libllama takes a token through all layers. */
export async function secondsAToken({ gguf, engine, hyper }: Model): Promise<number> {
  await using file = await openTensors(gguf);
  const source = { gguf, file, folder: engine.scratch, threads: engine.threads };
  const sizes = { contextLength: tokens, batchTokens: tokens, sequences: 1 };
  await using whole = await Slice.whole(source, hyper.layers, sizes);
  const last = whole.endOf(hyper.layers - 1);
  let seconds = Number.POSITIVE_INFINITY;
  // The first time the weights come from the disk.
  for (let time = 0; time < 2; time++) {
    whole.clear();
    const begun = performance.now();
    whole.read([{ content: new Int32Array(tokens), position: 0, sequence: 0 }], { last }, () => {});
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  return seconds / tokens;
}
