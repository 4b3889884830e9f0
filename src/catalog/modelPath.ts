import { join } from 'node:path';
import { CATALOG } from './catalog.js';
import { findModel } from './findModel.js';
import { modelsFolder } from './modelsFolder.js';
import { readRegister } from './register.js';

/**
 * Where the file of a named model is or will be, whether it is there or not. Names are those of the catalogue and those that
 * were added. UsageError for an unknown name.
 */
export async function modelPath(name: string, { home }: { home?: string } = {}): Promise<string> {
  const folder = modelsFolder(home);
  const entry = CATALOG.find((e) => e.name === name);
  if (entry !== undefined) return join(folder, entry.file);
  const record = (await readRegister(folder)).models[name];
  if (record === undefined) return join(folder, findModel(name).file);
  return record.path ?? join(folder, record.file!);
}
