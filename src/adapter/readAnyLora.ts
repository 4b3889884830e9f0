import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../util/errors.js';
import type { Lora } from './lora.js';
import type { OpenedBase } from './openLoraBase.js';
import { readPeft } from './peft/readPeft.js';
import { checkFingerprint } from './readAdapter.js';
import { openLora, readLora } from './readLora.js';
import { keys } from './types.js';

/** Whether a path is an adapter of PEFT (a folder) rather than a GGUF file. @throws LoamError for a folder of something else */
export async function isPeft(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return false;
  const config = await stat(join(path, 'adapter_config.json')).catch(() => undefined);
  if (config?.isFile()) return true;
  throw new LoamError({
    found: 'a folder without adapter_config.json',
    expected: 'a LoRA GGUF file or the folder of an adapter that PEFT saved',
    where: path,
  });
}

/**
 * Reads an adapter, LoRA GGUF or PEFT's folder, and checks it against its base, also by what it says of the base it was made for.
 * @throws LoamError that lists every mismatch, UnsupportedError for what Loam cannot express
 */
export async function readAnyLora(path: string, base: OpenedBase): Promise<Lora> {
  const peft = await isPeft(path);
  const file = peft ? undefined : await openLora(path);
  const fits = file === undefined || file.string('general.architecture') === base.architecture;
  const check = async (text: (key: string) => string) => {
    if (base.gguf && fits) await checkFingerprint(path, text(keys.baseName), text(keys.baseFingerprint), base.gguf);
  };
  if (file) {
    await check((key) => file.string(key, ''));
    return await readLora(file, base);
  }
  const lora = await readPeft(path, base);
  await check((key) => {
    const note = lora.notes.get(key);
    return note?.type === 'string' ? note.value : '';
  });
  return lora;
}
