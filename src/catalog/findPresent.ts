import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from './hashFile.js';
import { mapSteps } from './mapSteps.js';
import { readRegister, updateRegister } from './register.js';
import type { Fetchable, FetchContext, FetchEvent, FetchedModel } from './types.js';

/**
 * The model when it is on disk and right, by its size and the recorded hash; a file without a record is hashed and recorded.
 * Null when it must be fetched: absent, of another size or of another content.
 */
export async function* findPresent(
  entry: Fetchable,
  context: FetchContext,
): AsyncGenerator<FetchEvent, FetchedModel | null> {
  const path = join(context.folder, entry.file);
  const found = await stat(path).catch(() => null);
  if (found === null || !found.isFile()) return null;
  const record = (await readRegister(context.folder)).models[entry.name];
  const bytes = record?.bytes ?? (entry.approximateSize ? found.size : entry.size);
  if (found.size !== bytes) return null;
  const here = { name: entry.name, path, bytes, source: record?.source ?? null, alreadyThere: true };
  if (record !== undefined && (entry.sha256 ?? record.sha256) === record.sha256)
    return { ...here, sha256: record.sha256 };
  const hashing = hashFile(path, context.signal);
  const sha256 = yield* mapSteps(hashing, (done): FetchEvent => ({ type: 'checking', done, total: bytes }));
  if (entry.sha256 !== undefined && sha256 !== entry.sha256) return null;
  await updateRegister(context.folder, (models) => {
    models[entry.name] = { file: entry.file, bytes, sha256, source: 'found on disk', added: new Date().toISOString() };
  });
  return { ...here, sha256 };
}
