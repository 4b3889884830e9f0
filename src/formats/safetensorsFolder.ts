import { access, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { count, listFirst } from '../base/format.js';
import { writeFileAtomic } from '../base/io.js';
import { isObject, readJsonObject } from '../base/jsonAccess.js';
import { arrayBytes, type NamedArrayToWrite, type NdArray } from './arrays.js';
import { findTensor } from './dataFile.js';
import {
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  type TensorSource,
  writeSafetensors,
} from './safetensors.js';

/** The index of the largest models (90,000 tensors) takes 10 MB. */
const MAX_INDEX_BYTES = 64 * 1024 * 1024;

/** The largest mixture-of-experts models are published in 200 to 1,000 shards. */
const MAX_SHARDS = 10_000;

/** The files of a model that was saved in several, as one. */
class SafetensorsFolder implements TensorSource {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;

  constructor(
    readonly path: string,
    private readonly shardOf: ReadonlyMap<string, SafetensorsFile>,
    private readonly shards: readonly SafetensorsFile[],
  ) {
    this.tensors = new Map(
      [...shardOf].map(([name, shard]) => [name, { ...shard.tensors.get(name)!, file: basename(shard.path) }]),
    );
    this.metadata = shards[0]?.metadata ?? new Map();
  }

  private find(name: string): SafetensorsFile {
    return findTensor(this.shardOf, name, this.path);
  }

  async read(name: string): Promise<NdArray> {
    return await this.find(name).read(name);
  }

  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    return await this.find(name).readPart(name, from, bytes);
  }

  stream(name: string, pieceBytes?: number): AsyncGenerator<Uint8Array, void> {
    return this.find(name).stream(name, pieceBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const shard of this.shards) await shard[Symbol.asyncDispose]();
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Opens the weights of a model folder as Hugging Face's libraries save them: `<stem>.safetensors`, or `<stem>.safetensors.index.json` and
 * the files it names, all of which must be in the folder itself.
 * @param stem `model`, or `adapter_model`
 * @throws LoamError if files or tensors are missing, UnsupportedError for a folder with pickled weights only
 */
export async function openSafetensorsFolder(folder: string, stem = 'model'): Promise<TensorSource> {
  const single = join(folder, `${stem}.safetensors`);
  if (await exists(single)) return await openSafetensors(single);
  const index = `${single}.index.json`;
  if (await exists(index)) return await openShards(folder, index);
  const parts = (await readdir(folder).catch((): string[] => []))
    .filter((name) => PART.test(name) && name.startsWith(stem))
    .sort();
  if (parts.length > 0) return await openParts(folder, parts, index);
  for (const pickled of ['pytorch_model.bin', 'pytorch_model.bin.index.json', 'adapter_model.bin']) {
    if (!(await exists(join(folder, pickled)))) continue;
    throw new UnsupportedError({
      found: `only pickled weights (${pickled}), which could run code when read`,
      expected: `${stem}.safetensors`,
      where: folder,
      fix: 'in Python: load the model and save it again with save_pretrained(..., safe_serialization=True)',
    });
  }
  const others = (await readdir(folder).catch((): string[] => [])).filter((name) => name.endsWith('.safetensors'));
  throw new LoamError({
    code: 'not-found',
    found:
      others.length > 0
        ? `weights under other names only: ${listFirst(others.map(quote).sort(), 5, ', ')}`
        : 'no weights in safetensors',
    expected: `${stem}.safetensors or ${stem}.safetensors.index.json`,
    where: folder,
    fix: others.length === 1 ? `name it ${stem}.safetensors if it is all of the weights` : undefined,
  });
}

/** A part of several, as transformers names them: its number and how many there are. */
const PART = /^[\w.]+-(\d+)-of-(\d+)\.safetensors$/;

/** Parts whose index is missing: as good as with it if all of them are there. */
async function openParts(folder: string, names: readonly string[], index: string): Promise<TensorSource> {
  const numbered = names.map((name) => PART.exec(name)!);
  const wholes = new Set(numbered.map(([, , all]) => Number(all)));
  const [wanted] = wholes;
  if (wholes.size > 1) {
    throw new LoamError({
      code: 'damaged',
      found: `parts of weights that were saved in ${[...wholes].join(' and in ')} parts, and no index`,
      expected: 'those of one',
      where: index,
      fix: 'fetch the index of the model, or take away the parts of the other',
    });
  }
  const numbers = new Set(numbered.map(([, number]) => Number(number)));
  if (wanted! > MAX_SHARDS || numbers.size !== wanted || names.length !== wanted) {
    throw new LoamError({
      code: 'not-found',
      found: `${count(numbers.size)} of ${count(wanted!)} parts of the weights, and no index`,
      expected: 'all of them',
      where: index,
      fix: 'fetch the rest of the model',
    });
  }
  return await joined(folder, names);
}

/** @param placeOf which file a tensor is read from that several hold; of the first tensor that nothing is said of, an error */
async function joined(
  folder: string,
  names: readonly string[],
  placeOf: (tensor: string) => string | undefined = () => undefined,
): Promise<SafetensorsFolder> {
  const shards: SafetensorsFile[] = [];
  try {
    const owners = new Map<string, SafetensorsFile>();
    for (const name of names) {
      const shard = await openSafetensors(join(folder, name));
      shards.push(shard);
      for (const tensor of shard.tensors.keys()) {
        const place = owners.has(tensor) ? placeOf(tensor) : name;
        if (place === undefined) {
          throw new LoamError({ code: 'damaged', found: `${quote(tensor)} in two parts`, where: folder });
        }
        if (place === name) owners.set(tensor, shard);
      }
    }
    return new SafetensorsFolder(folder, owners, shards);
  } catch (error) {
    for (const shard of shards) await shard[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * The files that an index names. What they hold counts, as for transformers: a tensor may lie in another of them than the index says, or
 * be missing in the index.
 */
async function openShards(folder: string, path: string): Promise<TensorSource> {
  const map = await readIndex(path);
  const names = [...new Set(map.values())];
  if (names.length > MAX_SHARDS) {
    const expected = `at most ${count(MAX_SHARDS)}`;
    throw new LoamError({ code: 'too-large', found: `${count(names.length)} files`, expected, where: path });
  }
  requireAllParts(names, path);
  const source = await joined(folder, names, (tensor) => map.get(tensor));
  const missing = [...map].filter(([tensor]) => !source.tensors.has(tensor));
  if (missing.length === 0) return source;
  await source[Symbol.asyncDispose]();
  const lacking = missing.map(([tensor, file]) => `${quote(tensor)} is not in ${quote(file)}`);
  throw new LoamError({
    code: 'damaged',
    found: listFirst(lacking),
    where: path,
    fix: 'fetch the model again: the files and their index are not of one saving',
  });
}

/** @throws LoamError for an index that names some of the parts of one saving only */
function requireAllParts(names: readonly string[], path: string): void {
  const numbered = names.map((name) => PART.exec(name));
  const wanted = Number(numbered[0]?.[2]);
  if (!numbered.every((match) => match && Number(match[2]) === wanted) || names.length >= wanted) return;
  throw new LoamError({
    code: 'damaged',
    found: `an index that names ${count(names.length)} of ${count(wanted)} parts of the weights`,
    expected: 'all of them',
    where: path,
    fix: 'fetch the model again: the files and their index are not of one saving',
  });
}

/** Which file holds which tensor. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const map = (await readJsonObject(path, MAX_INDEX_BYTES)).get('weight_map');
  if (!isObject(map)) {
    throw new LoamError({ code: 'damaged', found: 'no weight_map', expected: 'tensors with their files', where: path });
  }
  const result = new Map<string, string>();
  for (const [tensor, file] of map) {
    // Nothing outside the folder is opened on a file's word.
    if (typeof file !== 'string' || !/^[\w.-]+\.safetensors$/.test(file)) {
      throw new LoamError({
        code: 'damaged',
        found: `${quote(tensor)} in ${typeof file === 'string' ? quote(file) : 'no file'}`,
        expected: 'the name of a .safetensors file in the same folder',
        where: path,
      });
    }
    result.set(tensor, file);
  }
  return result;
}

interface SafetensorsFolderOptions {
  /** Bytes of tensors per file, exceeded only by a tensor that is larger. Default 5 GB, as transformers does. */
  shardBytes?: number;
  /** Default `format: pt`, which Hugging Face's libraries ask for. */
  metadata?: Iterable<readonly [string, string]>;
}

/**
 * Writes the weights of a model folder: `model.safetensors`, or several files and `model.safetensors.index.json` if they are larger than
 * `shardBytes`. The index, without which nobody finds the parts, comes last. Throws as `writeSafetensors`.
 * @returns names of the files written
 */
export async function writeSafetensorsFolder(
  folder: string,
  tensors: Iterable<NamedArrayToWrite>,
  { shardBytes = 5e9, metadata = [['format', 'pt']] }: SafetensorsFolderOptions = {},
): Promise<string[]> {
  const shards: NamedArrayToWrite[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  let total = 0;
  const names = new Set<string>();
  for (const tensor of tensors) {
    if (names.has(tensor.name)) {
      const where = `${folder}, tensor ${quote(tensor.name)}`;
      throw new LoamError({ code: 'invalid-data', found: 'the same name twice', where });
    }
    names.add(tensor.name);
    const bytes = arrayBytes(tensor);
    if (filled + bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += bytes;
    total += bytes;
  }
  if (shards.length < 2) {
    await writeSafetensors(join(folder, 'model.safetensors'), shards[0] ?? [], metadata);
    return ['model.safetensors'];
  }
  const padded = (n: number) => String(n).padStart(5, '0');
  const written: string[] = [];
  const places: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, file), shard, metadata);
    written.push(file);
    for (const { name } of shard) places.push([name, file]);
  }
  const map = places.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`).join(',\n');
  const index = `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${map}\n  }\n}\n`;
  await writeFileAtomic(join(folder, 'model.safetensors.index.json'), index);
  return [...written, 'model.safetensors.index.json'];
}
