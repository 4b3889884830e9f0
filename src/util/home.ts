import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** Folder of all state (models, runs, adapters): `LOAM_HOME`, or `~/.loam`. Read at each call so that tests can move it. */
export function loamHome(...parts: string[]): string {
  const root = process.env.LOAM_HOME ? resolve(process.env.LOAM_HOME) : join(homedir(), '.loam');
  return join(root, ...parts);
}
