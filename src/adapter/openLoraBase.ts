import { stat } from 'node:fs/promises';
import type { Gguf } from '../gguf/Gguf.js';
import { readGguf } from '../gguf/readGguf.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { ggufBase, type LoraBase } from './LoraBase.js';
import { hfBase } from './peft/hfBase.js';

/** A base model that adapters are read against: of a GGUF file, or of a Hugging Face folder, of which only config.json is read. */
export interface OpenedBase extends LoraBase {
  /** Of a GGUF file. */
  readonly gguf?: Gguf;
}

/** @throws LoamError where there is no model, UnsupportedError for a family that Loam does not know */
export async function openLoraBase(path: string): Promise<OpenedBase> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return await hfBase(path);
  const gguf = await readGguf(path);
  return { ...ggufBase(path, readHyperparameters(gguf)), gguf };
}
