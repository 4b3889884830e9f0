import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LoamError, UnsupportedError, UsageError } from '../util/errors.js';
import { CATALOG } from './catalog.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';
import { hashFile } from './hashFile.js';
import { hubEndpoint, parseHubReference } from './hub.js';
import { isGguf } from './isGguf.js';
import { mapSteps } from './mapSteps.js';
import { modelsFolder } from './modelsFolder.js';
import { readRegister, updateRegister } from './register.js';
import type { Fetchable, FetchEvent, FetchedModel, HubSource } from './types.js';

/** Short enough for every file system; lower case because some do not tell "A" from "a". */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Parts of a split model have to be joined first (llama.cpp, gguf-split). */
const SPLIT = /-\d{5}-of-\d{5}\.gguf$/;

async function checkName(name: string, folder: string): Promise<void> {
  if (!NAME.test(name) || name.endsWith('.gguf')) {
    throw new UsageError({
      found: JSON.stringify(name),
      expected: 'a name of lower-case letters, digits, ".", "_" and "-", not ending in ".gguf"',
      where: '--name',
    });
  }
  if (CATALOG.some((entry) => entry.name === name)) {
    throw new UsageError({ found: `${name} is a name of the catalogue`, where: '--name', fix: 'choose another' });
  }
  if ((await readRegister(folder)).models[name] !== undefined) {
    throw new UsageError({
      found: `there is a model named ${name} already`,
      where: '--name',
      fix: `choose another name, or run "loam models rm ${name}" first`,
    });
  }
}

/** What the file's own name suggests: "Qwen3-0.6B-Q4_0.gguf" becomes "qwen3-0.6b-q4_0". */
export function suggestName(file: string): string {
  const stem = file.slice(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1).replace(/\.gguf$/i, '');
  const plain = stem.toLowerCase().replace(/[^a-z0-9._-]+/g, '-');
  return plain.replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model';
}

/** A file of the hub that the catalogue does not know: the hub states its size and hash. */
function fetchable(name: string, source: HubSource): Fetchable {
  const title = `${source.repo}/${source.file}`;
  return { name, title, file: `added/${name}.gguf`, size: 0, approximateSize: true, sources: [source] };
}

async function* addFile(path: string, name: string, options: FetchOptions): AsyncGenerator<FetchEvent, FetchedModel> {
  const folder = modelsFolder(options.home);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new LoamError({ found: 'there is no such file', where: path });
  if (!(await isGguf(path))) {
    throw new LoamError({ found: 'the file does not begin with "GGUF"', expected: 'a GGUF model', where: path });
  }
  const hashing = hashFile(path, options.signal);
  const sha256 = yield* mapSteps(hashing, (done): FetchEvent => ({ type: 'checking', done, total: found.size }));
  await updateRegister(folder, (models) => {
    models[name] = { path, bytes: found.size, sha256, source: 'a file of the user', added: new Date().toISOString() };
  });
  const model = { name, path, bytes: found.size, sha256, source: null, alreadyThere: true };
  yield { type: 'done', ...model };
  return model;
}

/**
 * Gives a name to a person's own GGUF file, which stays where it is, or to a file of the hub ("hub:owner/repo/file.gguf",
 * "hub:owner/repo@commit/file.gguf" or its address), which is downloaded. `name` defaults to one made from the file's name.
 * Throws UsageError for a name that is taken or cannot be one, LoamError for a file that is not there or not GGUF,
 * UnsupportedError for one part of a split model, and what `fetchModel` throws.
 */
export async function* addModel(
  reference: string,
  name?: string,
  options: FetchOptions = {},
): AsyncGenerator<FetchEvent, FetchedModel> {
  const source = parseHubReference(reference, hubEndpoint(options.endpoint));
  const file = source === null ? resolve(reference) : source.file;
  const chosen = name ?? suggestName(file);
  await checkName(chosen, modelsFolder(options.home));
  if (SPLIT.test(file)) {
    throw new UnsupportedError({
      found: 'this is one part of a split model',
      expected: 'a model in one file',
      where: file,
      fix: 'join the parts with "llama-gguf-split --merge" first, or choose a smaller type',
    });
  }
  if (source === null) return yield* addFile(file, chosen, options);
  return yield* fetchModel(fetchable(chosen, source), options);
}
