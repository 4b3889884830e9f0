import fs from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { Random } from '../base/random.js';
import { type Done, FileFaults } from './faults.js';

/**
 * What a power cut leaves of a folder. Every operation below it is recorded; `cut` then builds a folder as a file system may show it
 * after the power is back: what was synced is there; of what was not, each write is there, missing or torn, and each change of a name
 * in a folder that was not synced since is there or missing, in any combination (as on a file system that keeps no order).
 */

/** As it is before the injector counts it. */
const openUncounted = fs.openSync;

interface Inode {
  /** What is on the medium. */
  synced: Buffer;
  /** Contents after each write that was not synced yet. */
  pending: Buffer[];
}

/** One change of a folder's entries: names that now mean a file, or none. */
type Renaming = ReadonlyMap<string, Inode | 'folder' | null>;

export class PowerLoss implements Disposable {
  private readonly names = new Map<string, Inode | 'folder'>();
  private readonly synced = new Map<string, Inode | 'folder'>();
  private readonly pending = new Map<string, Renaming[]>();
  private faults: FileFaults | undefined;

  private constructor(private readonly root: string) {
    for (const entry of fs.readdirSync(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      const value = entry.isDirectory() ? 'folder' : { synced: fs.readFileSync(path), pending: [] };
      this.names.set(path, value);
      this.synced.set(path, value);
    }
  }

  /** Records from now on; what lies in `root` counts as synced. */
  static async record(root: string): Promise<PowerLoss> {
    const path = resolve(root);
    const loss = new PowerLoss(path);
    loss.faults = await FileFaults.install(path, undefined, (done) => loss.note(done));
    return loss;
  }

  [Symbol.dispose](): void {
    this.faults?.[Symbol.dispose]();
  }

  private change(folder: string, renaming: Renaming): void {
    for (const [path, value] of renaming) {
      if (value === null) this.names.delete(path);
      else this.names.set(path, value);
    }
    this.pending.set(folder, [...(this.pending.get(folder) ?? []), renaming]);
  }

  /** A name that is there now and was not known: made by opening, writing or copying. */
  private appear(path: string): void {
    const stat = fs.statSync(path, { throwIfNoEntry: false });
    if (path === this.root || !stat || this.names.has(path)) return;
    this.appear(dirname(path));
    if (stat.isDirectory()) {
      this.change(dirname(path), new Map([[path, 'folder']]));
      return;
    }
    const inode: Inode = { synced: Buffer.alloc(0), pending: [] };
    this.change(dirname(path), new Map([[path, inode]]));
  }

  private note({ kind, path: given, to }: Done): void {
    const path = resolve(given);
    if (kind === 'open' || kind === 'mkdir') this.appear(path);
    if (kind === 'write') {
      this.appear(path);
      const inode = this.names.get(path);
      if (inode && inode !== 'folder') inode.pending.push(readUnpatched(path));
    }
    if (kind === 'sync') {
      if (fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()) this.syncFolder(path);
      else {
        const inode = this.names.get(path);
        if (inode && inode !== 'folder') {
          inode.synced = inode.pending.at(-1) ?? inode.synced;
          inode.pending = [];
        }
      }
    }
    if (kind === 'remove') {
      for (const name of [...this.names.keys()].filter((n) => n === path || n.startsWith(`${path}/`))) {
        if (!fs.existsSync(name)) this.change(dirname(name), new Map([[name, null]]));
      }
    }
    if (kind === 'rename' && to !== undefined) {
      const target = resolve(to);
      const value = this.names.get(path);
      // A link leaves the first name.
      const gone = !fs.existsSync(path);
      if (value)
        this.change(
          dirname(target),
          new Map<string, Inode | 'folder' | null>([[target, value], ...(gone ? ([[path, null]] as const) : [])]),
        );
    }
  }

  private syncFolder(folder: string): void {
    for (const renaming of this.pending.get(folder) ?? []) apply(this.synced, renaming);
    this.pending.delete(folder);
  }

  /** Writes into `target` what a cut at this moment may leave, by draws from `random`. */
  cut(target: string, random: Random): void {
    const names = new Map(this.synced);
    // Half of the file systems keep the order of changes in a folder: any number of the last ones is missing.
    for (const renamings of this.pending.values()) {
      const keepsOrder = random.uniform() < 0.5;
      const kept = random.below(renamings.length + 1);
      for (const [i, renaming] of renamings.entries()) {
        if (keepsOrder ? i < kept : random.uniform() < 0.5) apply(names, renaming);
      }
    }
    const contents = new Map<Inode, Buffer>();
    const contentOf = (inode: Inode) => {
      const content = contents.get(inode) ?? afterCut(inode, random);
      contents.set(inode, content);
      return content;
    };
    fs.mkdirSync(target, { recursive: true, mode: 0o700 });
    for (const [path, value] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const copy = join(target, relative(this.root, path));
      // A folder whose own name was lost takes what is in it along.
      if (!fs.existsSync(dirname(copy))) continue;
      if (value === 'folder') fs.mkdirSync(copy, { mode: 0o700 });
      else fs.writeFileSync(copy, contentOf(value), { mode: 0o600 });
    }
  }
}

function apply(names: Map<string, Inode | 'folder'>, renaming: Renaming): void {
  for (const [path, value] of renaming) {
    if (value === null) names.delete(path);
    else names.set(path, value);
  }
}

function afterCut({ synced, pending }: Inode, random: Random): Buffer {
  const last = [synced, ...pending][random.below(pending.length + 1)]!;
  if (last === synced) return synced;
  const pick = random.below(3);
  if (pick === 0) return last;
  const whole = random.below(last.length + 1);
  // Torn: the beginning is new, and the rest is old, zeros, or missing.
  if (pick === 1) return last.subarray(0, whole);
  const rest = Buffer.alloc(last.length);
  synced.copy(rest, 0, 0, Math.min(synced.length, rest.length));
  last.copy(rest, 0, 0, whole);
  return rest;
}

function readUnpatched(path: string): Buffer {
  const fd = openUncounted(path, 'r');
  try {
    const bytes = Buffer.alloc(fs.fstatSync(fd).size);
    fs.readSync(fd, bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}
