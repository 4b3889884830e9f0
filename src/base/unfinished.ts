import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { systemCode } from './errors.js';
import { readKernelFile } from './kernelFiles.js';
import { lifeOf, ownLife } from './life.js';

/**
 * Files that are not finished, or are meant for a moment: their names tell which process they belong to, so that whoever comes next to
 * their folder can remove those whose process is gone. They may hold anything that the finished file does.
 */

/** Milliseconds without a change after which a file counts as left behind if its process is out of reach, on another machine say. */
const SILENT_MS = 3_600_000;

/** Characters of the finished file's name in it: four bytes each at most, and file systems take 255 bytes. */
const NAME_LENGTH = 32;

const short = (...parts: (string | null | undefined)[]) =>
  createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 8);

/** This machine or container, and its present start. */
const machine = () => short(readKernelFile('/etc/machine-id') || hostname(), ownLife().space);
const boot = () => short(ownLife().boot);

/** Names this process in a file's name. */
function ownTag(): string {
  const { pid, birth } = ownLife();
  return `${machine()}-${boot()}-${pid}-${Buffer.from(birth ?? '').toString('hex')}`;
}

const TAG = /([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-([0-9a-f]*)/.source;
const PARTIAL = new RegExp(`^\\..*\\.${TAG}\\.[0-9a-f]{8}\\.partial$`);
const TEMPORARY = new RegExp(`^loam-${TAG}-`);
/** What versions before these names have left: the process alone, or nothing. */
const EARLIER = /^\..+\.()()(\d+)()\.candidate$|^\.()()(\d+)()-[0-9a-f]{32}\.partial$/;

/** Path of the unfinished file: beside its target, so that the rename stays within one file system. */
export function partialPath(path: string): string {
  const name = [...basename(path)].slice(0, NAME_LENGTH).join('');
  return join(dirname(path), `.${name}.${ownTag()}.${randomBytes(4).toString('hex')}.partial`);
}

/** Path of a temporary file. */
export function temporaryPath(folder: string): string {
  return join(folder, `loam-${ownTag()}-${randomBytes(8).toString('hex')}.tmp`);
}

/** A new temporary folder. */
export async function temporaryFolder(folder: string): Promise<string> {
  await sweepOnce(folder);
  return await mkdtemp(join(folder, `loam-${ownTag()}-`));
}

/** Folders that this process has looked through. */
const looked = new Set<string>();

/** Removes, at this process's first call for a folder, what dead processes have left unfinished there. */
export async function sweepOnce(folder: string): Promise<void> {
  const path = resolve(folder);
  if (looked.has(path)) return;
  looked.add(path);
  await sweepUnfinished(path);
}

/** Removes what dead processes have left unfinished in a folder. What cannot be removed stays: it is somebody else's. */
export async function sweepUnfinished(folder: string): Promise<void> {
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names) {
    const path = join(folder, name);
    if (await isLeftBehind(path)) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

/** Whether a file is an unfinished one whose process is gone. */
export async function isLeftBehind(path: string): Promise<boolean> {
  const name = basename(path);
  const owner = PARTIAL.exec(name) ?? TEMPORARY.exec(name) ?? EARLIER.exec(name);
  if (!owner) return false;
  const [where, start, pid, birth] = owner.slice(1).filter((group) => group !== undefined);
  if (where !== '' && where !== machine()) return await isSilent(path);
  if (where !== '' && start !== boot()) return true;
  const began = Buffer.from(birth!, 'hex').toString() || null;
  return lifeOf({ ...ownLife(), pid: Number(pid), birth: began }) === 'dead';
}

async function isSilent(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > SILENT_MS;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
