import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, systemCode } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import { explainReadError } from '../base/io.js';
import { proveAdapter } from '../model/proof.js';
import { isDay } from '../model/strftime.js';
import type { Base, BaseIdentity, GgufBase } from './base.js';
import { requireMadeFor } from './fingerprint.js';
import { keys, type Lora, type Notes, textNote } from './lora.js';
import { readLora } from './loraGguf.js';
import { isMlxConfig, readMlx } from './mlx.js';
import { readJsonFile } from './peft/names.js';
import { readPeft } from './peft/peft.js';

/** An adapter that fits its base, with what its file says of itself. */
export interface Adapter extends Lora {
  readonly format: 'gguf' | 'peft' | 'mlx';
  /** Empty if the file does not say. */
  readonly name: string;
  readonly base: BaseIdentity;
  /** As stored by Loam; undefined for adapters of other tools. */
  readonly recipe?: Record<string, unknown>;
  readonly metrics?: Record<string, unknown>;
}

/**
 * Reads an adapter, a LoRA GGUF file or the folder of PEFT or mlx-lm, and checks it against the base model, also by what it says of the base it
 * was made for.
 * @param only refuses a folder: libllama loads nothing but GGUF
 * @throws LoamError that lists every mismatch, UnsupportedError for what Loam cannot express
 */
export async function openAdapter(path: string, base: Base, { only }: { only?: 'gguf' } = {}): Promise<Adapter> {
  const format = await formatOf(path);
  if (format === 'gguf') return described(await readLora(path, base), format);
  if (only === 'gguf') {
    throw new LoamError({
      code: 'wrong-format',
      found: `the folder of an adapter that ${format === 'mlx' ? 'MLX' : 'PEFT'} saved`,
      expected: 'a LoRA GGUF file',
      where: path,
      fix: 'convert it with `loam adapters convert`',
    });
  }
  const lora = format === 'mlx' ? await readMlx(path, base) : await readPeft(path, base);
  await requireMadeFor(path, lora.notes, base);
  return described(lora, format);
}

/**
 * As `openAdapter`, for whoever hands the file to libllama: it has passed all checks, and has been tried on its base (`proveAdapter`).
 * @param isNew as of `proveAdapter`
 */
export async function provenAdapter(
  path: string,
  base: GgufBase,
  { isNew, signal }: { isNew?: boolean; signal?: AbortSignal } = {},
): Promise<Adapter> {
  const adapter = await openAdapter(path, base, { only: 'gguf' });
  await proveAdapter({ model: base.path, adapter: path, vocabulary: base.hyper.vocabulary, isNew }, { signal });
  return adapter;
}

async function formatOf(path: string): Promise<Adapter['format']> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw explainReadError(error, path);
    throw new LoamError({
      code: 'not-found',
      found: 'there is no file or folder here',
      expected: 'an adapter',
      where: path,
    });
  });
  if (!found.isDirectory() && path.endsWith('.safetensors')) {
    throw new LoamError({
      code: 'wrong-format',
      found: 'a safetensors file alone: what its factors are multiplied by stands beside it, in adapter_config.json',
      expected: 'a LoRA GGUF file or the folder of an adapter that PEFT or mlx-lm saved',
      where: path,
      fix: 'pass the folder that it lies in',
    });
  }
  if (!found.isDirectory()) return 'gguf';
  const config = join(path, 'adapter_config.json');
  if ((await stat(config).catch(() => undefined))?.isFile()) {
    return isMlxConfig(await readJsonFile(config)) ? 'mlx' : 'peft';
  }
  const names = await readdir(path);
  const inside: string[] = [];
  for (const name of names) {
    if ((await stat(join(path, name, 'adapter_config.json')).catch(() => undefined))?.isFile()) inside.push(name);
  }
  const unsaid = names.some((name) => /^adapters\.(safetensors|npz)$/.test(name));
  throw new LoamError({
    code: 'wrong-format',
    found: unsaid
      ? 'an adapter of MLX without adapter_config.json, which says by what its corrections are multiplied'
      : `a folder without adapter_config.json${inside.length > 0 ? `, with adapters in ${listFirst(inside.map(quote), 5, ', ')}` : ''}`,
    expected: 'a LoRA GGUF file or the folder of an adapter that PEFT or mlx-lm saved',
    where: path,
    fix: unsaid
      ? 'put the adapter_config.json of the run beside it'
      : inside.length > 0
        ? 'pass one of these folders'
        : undefined,
  });
}

function described(lora: Lora, format: Adapter['format']): Adapter {
  const text = (key: string) => textNote(lora.notes, key) ?? '';
  return {
    ...lora,
    format,
    name: text('general.name'),
    base: {
      architecture: lora.architecture,
      name: text(keys.baseName),
      sha256: text(keys.baseSha256),
      fingerprint: text(keys.baseFingerprint),
      templateSha256: text(keys.templateSha256),
      sample: textNote(lora.notes, keys.templateSample),
      templateDay: dayNote(lora.notes),
      thinking: { on: true, off: false }[textNote(lora.notes, keys.thinking) ?? ''],
    },
    recipe: objectNote(lora.notes, keys.recipe),
    metrics: objectNote(lora.notes, keys.metrics),
  };
}

/** The day that a template is to be told again; undefined if the file names none, or what is no day. */
function dayNote(notes: Notes): string | undefined {
  const day = textNote(notes, keys.templateDay);
  return isDay(day) ? day : undefined;
}

function objectNote(notes: Notes, key: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(textNote(notes, key) ?? 'null');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
