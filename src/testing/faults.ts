import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { resolve, sep } from 'node:path';

/**
 * The fault injector of the campaign tests (`*.faults.test.ts`): every operation on files below a folder is counted, and one of them
 * fails, or ends the process. It works on the functions of `node:fs` and `node:fs/promises` in this process, so the product's own code
 * runs as it is. A child gets it by `--import` of this file, with `LOAM_TEST_FAULTS` (JSON: `{root, at, how, from}`).
 */

const isLong = process.env.LOAM_FAULTS === 'long';

/** How often a campaign tries: `short` in `npm test`, `long` under `npm run test:faults`. */
export function rounds(short: number, long: number): number {
  return isLong ? long : short;
}

export type FileOperation = 'open' | 'write' | 'sync' | 'rename' | 'remove' | 'mkdir';

export interface Done {
  kind: FileOperation;
  path: string;
  /** The new path of a rename or a link. */
  to?: string;
}

/** An error code of the system, or the end of this process. */
export type How = 'EIO' | 'ENOSPC' | 'EMFILE' | 'EACCES' | 'EROFS' | 'kill';

interface Plan {
  /** Which operation, counted from 1. */
  at: number;
  how: How;
  /** Every later one fails as well, as on a disk that stays full. */
  from?: boolean;
}

/** What each error can befall: a full disk refuses no reading, and the table of open files nothing but opening. */
const befalls: Record<How, readonly FileOperation[]> = {
  EIO: ['open', 'write', 'sync', 'rename', 'remove', 'mkdir'],
  ENOSPC: ['write', 'mkdir', 'rename', 'sync'],
  EMFILE: ['open'],
  EACCES: ['open', 'rename', 'remove', 'mkdir'],
  EROFS: ['write', 'rename', 'remove', 'mkdir'],
  kill: ['open', 'write', 'sync', 'rename', 'remove', 'mkdir'],
};

type Call = (...args: unknown[]) => unknown;
type Table = Record<string, Call>;

const kinds: Record<string, FileOperation> = {
  ...Object.fromEntries(
    ['open', 'openSync', 'readFile', 'readFileSync', 'readdir', 'readdirSync'].map((n) => [n, 'open']),
  ),
  ...Object.fromEntries(
    ['writeFile', 'writeFileSync', 'truncate', 'copyFile', 'copyFileSync'].map((n) => [n, 'write']),
  ),
  ...Object.fromEntries(['rename', 'renameSync', 'link', 'linkSync', 'symlink'].map((n) => [n, 'rename'])),
  ...Object.fromEntries(['rm', 'rmSync', 'unlink', 'unlinkSync', 'rmdir'].map((n) => [n, 'remove'])),
  ...Object.fromEntries(['mkdir', 'mkdirSync', 'mkdtemp'].map((n) => [n, 'mkdir'])),
} as Record<string, FileOperation>;
const handleKinds: Record<string, FileOperation> = {
  write: 'write',
  writev: 'write',
  writeFile: 'write',
  appendFile: 'write',
  truncate: 'write',
  sync: 'sync',
  datasync: 'sync',
};

/** Counts, breaks and tells the operations on files below `root`. One at a time in a process. */
export class FileFaults implements Disposable {
  /** Operations that the plan's error could have befallen (without a plan: all). */
  count = 0;
  /** Where the fault struck; undefined if it has not yet. */
  struck: Done | undefined;
  private readonly paths = new WeakMap<object, string>();
  private readonly undo: (() => void)[] = [];
  private readonly root: string;

  private constructor(
    root: string,
    private plan: Plan | undefined,
    private readonly onDone: ((done: Done) => void) | undefined,
  ) {
    this.root = resolve(root) + sep;
  }

  /** @param onDone told of each operation that succeeded, before its caller is */
  static async install(root: string, plan?: Plan, onDone?: (done: Done) => void): Promise<FileFaults> {
    const faults = new FileFaults(root, plan, onDone);
    const handle = await promises.open(process.execPath, 'r');
    const prototype = Object.getPrototypeOf(handle) as Table;
    await handle.close();
    faults.patch(promises as unknown as Table, kinds, true);
    faults.patch(fs as unknown as Table, kinds, false);
    faults.patchHandles(prototype);
    syncBuiltinESMExports();
    return faults;
  }

  /** From here on nothing fails, as after somebody has made room. */
  cure(): void {
    this.plan = undefined;
  }

  [Symbol.dispose](): void {
    for (const step of this.undo.splice(0)) step();
    syncBuiltinESMExports();
  }

  private patch(table: Table, names: Record<string, FileOperation>, isAsync: boolean): void {
    for (const [name, kind] of Object.entries(names)) {
      const real = table[name];
      // The callback functions of `node:fs` are not used by the product.
      if (real === undefined || (!isAsync && !name.endsWith('Sync'))) continue;
      const done = (args: unknown[]): Done => ({
        kind,
        path: String(args[0]),
        ...(kind === 'rename' && { to: String(args[1]) }),
      });
      const isOurs = (args: unknown[]) =>
        typeof args[0] === 'string' && `${resolve(args[0])}${sep}`.startsWith(this.root);
      table[name] = isAsync
        ? async (...args: unknown[]) => {
            if (isOurs(args)) this.strike(done(args));
            const result = await real.apply(table, args);
            if (name === 'open' && isOurs(args)) this.paths.set(result as object, resolve(String(args[0])));
            if (isOurs(args)) this.onDone?.(done(args));
            return result;
          }
        : (...args: unknown[]) => {
            if (isOurs(args)) this.strike(done(args));
            const result = real.apply(table, args);
            if (isOurs(args)) this.onDone?.(done(args));
            return result;
          };
      this.undo.push(() => {
        table[name] = real;
      });
    }
  }

  private patchHandles(prototype: Table): void {
    const { paths } = this;
    const [strike, onDone] = [this.strike.bind(this), this.onDone];
    for (const [name, kind] of Object.entries(handleKinds)) {
      const real = prototype[name]!;
      prototype[name] = async function (this: object, ...args: unknown[]) {
        const path = paths.get(this);
        if (path === undefined) return await real.apply(this, args);
        try {
          strike({ kind, path });
        } catch (error) {
          // A disk that fills up takes a part of the bytes first.
          if (name === 'write' && args[0] instanceof Uint8Array) await tear(real, this, args);
          throw error;
        }
        const result = await real.apply(this, args);
        onDone?.({ kind, path });
        return result;
      };
      this.undo.push(() => {
        prototype[name] = real;
      });
    }
  }

  private strike(done: Done): void {
    const { plan } = this;
    if (plan && !befalls[plan.how].includes(done.kind)) return;
    this.count++;
    if (!plan || !(plan.from ? this.count >= plan.at : this.count === plan.at)) return;
    this.struck ??= done;
    if (plan.how === 'kill') process.kill(process.pid, 'SIGKILL');
    throw Object.assign(new Error(`${plan.how}: injected, ${done.kind} '${done.path}'`), {
      code: plan.how,
      errno: -(os.constants.errno[plan.how as keyof typeof os.constants.errno] ?? 1),
      syscall: done.kind,
      path: done.path,
    });
  }
}

/** Writes the first half of what was to be written. */
async function tear(real: Call, handle: object, args: unknown[]): Promise<void> {
  const [bytes, offset, length, position] = args as [Uint8Array, number?, number?, number?];
  const half = Math.floor((length ?? bytes.length) / 2);
  await real.call(handle, bytes, offset ?? 0, half, position ?? null);
}

const told = process.env.LOAM_TEST_FAULTS;
if (told !== undefined) {
  const { root, ...plan } = JSON.parse(told) as Plan & { root: string };
  await FileFaults.install(root, plan);
}
