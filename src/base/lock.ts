import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LoamError, systemCode, throwIfStopped } from './errors.js';
import { explainWriteError } from './io.js';
import { type Life, lifeOf, ownLife } from './life.js';

/**
 * Locks between processes, by a file that names its holder, and within this one.
 *
 * A lock file is written whole under a name of its own and linked to its place, which fails if there is one. Whether its holder lives is
 * decided by the process (`life.ts`); where that is out of reach (another machine or container on a shared folder, an earlier boot), by
 * its heart: a holder touches its file every two seconds, and one that has not done so for eight, by the clock of whoever watches, is
 * gone. No time in a file is compared with a clock.
 *
 * A dead holder's file is removed by the one process that has the right to: it holds `LOCK.<nonce of the dead>.gone`, taken in the same
 * way, looks again whether the lock is still the dead one's, and removes it. A process that slept in between finds the right taken, or
 * the lock another's. So there are never two owners, whoever is frozen for however long.
 */

interface Holder extends Life {
  /** Of this holding: never used twice. */
  nonce: string;
}

/** Milliseconds between two beats of a holder. */
const BEAT_MS = 2_000;
/** A holder out of reach that has not beaten for so long is gone. Taking over is to take ten seconds at most. */
const SILENT_MS = 8_000;
/** Longest that counts between two looks: whoever slept between them knows nothing of the time. */
const LOOK_MS = 1_000;
/** Writing takes a moment: a file that says nothing and is this old was left by a crash. */
const CRASHED_MS = 5_000;
/** Milliseconds between two looks of somebody who waits, and at a holder that may be dead. */
const RETRY_MS = 15;
const DOUBT_MS = 100;
/** How often the folder may be removed under a process that wants a lock in it. */
const MOST_REMOVED = 100;
/** A lock file has some 200 bytes. */
const MOST_BYTES = 4096;

export interface Held {
  /** Process id of the holder; 0 for one that has not written it yet. */
  heldBy: number;
  /** Whether the holder may be dead: whoever waits ten seconds knows. */
  doubtful: boolean;
  /** Milliseconds for which it has shown no sign of life to those who looked. */
  silentMs: number;
}

export interface Taken {
  release(): Promise<void>;
  /** Fires if somebody else has it now: this process was out of their reach, and seemed dead. */
  lost: AbortSignal;
}

export type Lock = Taken | Held;

/** What lies at a path: a holder, or a file that names none. */
interface Found {
  holder: Holder | undefined;
  /** Of the file and its last beat. */
  mark: string;
  /** Names this holding in the name of the right to remove it. */
  id: string;
  /** Milliseconds since it was written, by its own clock and ours. */
  age: number;
}

/** Never follows a link, and never waits for one who writes. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOFOLLOW ?? 0);

/** What opening says of a link, a folder, a socket, or somebody else's file: it names no holder. */
const NOT_OURS = new Set(['ELOOP', 'EISDIR', 'ENXIO', 'EACCES', 'EPERM']);

/** Undefined if there is no file. Throws the file system's errors. */
async function look(path: string): Promise<Found | undefined> {
  let holder: Holder | undefined;
  try {
    await using file = await open(path, READ);
    const bytes = Buffer.alloc(MOST_BYTES);
    const { bytesRead } = await file.read(bytes, 0, MOST_BYTES, 0);
    holder = readHolder(bytes.toString('utf8', 0, bytesRead));
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'ENOENT') return undefined;
    // A failing disk, or no descriptor left, says nothing of the file.
    if (!NOT_OURS.has(code)) throw error;
  }
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  if (!found) return undefined;
  const mark = `${found.ino} ${found.mtimeNs}`;
  return { holder, mark, id: holder?.nonce ?? `x${found.ino}`, age: Date.now() - Number(found.mtimeMs) };
}

function readHolder(text: string): Holder | undefined {
  try {
    const { pid, host, boot, space, birth, nonce } = JSON.parse(text) as Partial<Holder>;
    if (!Number.isInteger(pid) || typeof host !== 'string' || typeof nonce !== 'string') return undefined;
    if (!/^[\w-]{1,64}$/.test(nonce)) return undefined;
    const orNull = (value: unknown) => (typeof value === 'string' ? value : null);
    return { pid: pid!, host, nonce, boot: orNull(boot), space: orNull(space), birth: orNull(birth) };
  } catch {
    return undefined;
  }
}

/** What this process holds, or is about to. */
const holding = new Set<string>();

/** When a file was last seen to change, by those of this process who look at it. */
const watched = new Map<string, { mark: string; looked: number; silentMs: number }>();

function silence(path: string, mark: string): number {
  const now = performance.now();
  const known = watched.get(path);
  const silentMs = known?.mark === mark ? known.silentMs + Math.min(LOOK_MS, now - known.looked) : 0;
  watched.set(path, { mark, looked: now, silentMs });
  return silentMs;
}

/** Who holds a file that is there; undefined if that process is gone. */
function judge(path: string, { holder, mark, age }: Found): Held | undefined {
  const silentMs = silence(path, mark);
  if (holder) {
    const life = lifeOf(holder);
    // Of this process, and released: its file could not be removed then.
    if (life === 'alive' && holder.pid === process.pid && !holding.has(holder.nonce)) return undefined;
    if (life === 'alive') return { heldBy: holder.pid, doubtful: false, silentMs };
    if (life === 'dead' || silentMs >= SILENT_MS) return undefined;
    return { heldBy: holder.pid, doubtful: true, silentMs };
  }
  return age > CRASHED_MS || silentMs >= CRASHED_MS ? undefined : { heldBy: 0, doubtful: true, silentMs };
}

/** An attempt at a lock: what would be put in its place, ready under a name of its own. */
class Draft implements AsyncDisposable {
  readonly holder: Holder = { ...ownLife(), nonce: randomBytes(16).toString('hex') };
  private file: FileHandle | undefined;
  private removed = 0;
  private isTaken = false;
  private readonly path: string;

  constructor(readonly lock: string) {
    // Its writer's number: until it is written it says nothing itself.
    this.path = `${lock}.${this.holder.pid}.${this.holder.nonce}.new`;
    holding.add(this.holder.nonce);
  }

  private get text(): string {
    return JSON.stringify(this.holder);
  }

  /** Puts it in a place that is free. */
  async claim(place: string): Promise<boolean> {
    try {
      if (!this.file) await this.write();
      await link(this.path, place);
      return true;
    } catch (error) {
      const code = systemCode(error) ?? '';
      if (code === 'EEXIST') return false;
      if (code === 'ENOENT') {
        // The folder, or what lies in it, was removed meanwhile; or no file can be made there.
        if (++this.removed > MOST_REMOVED) throw error;
        await this.close();
        return false;
      }
      if (!NO_LINKS.has(code)) throw error;
      return await this.claimWithoutLink(place);
    }
  }

  private async write(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    this.file = await open(this.path, 'wx', 0o600);
    await this.file.writeFile(this.text);
  }

  /** On file systems without hard links: somebody may take the file for a crashed one's before it is written, which is then seen. */
  private async claimWithoutLink(place: string): Promise<boolean> {
    try {
      await using file = await open(place, 'wx', 0o600);
      await file.writeFile(this.text).catch(async (error: unknown) => {
        await rm(place, { force: true });
        throw error;
      });
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false;
      throw error;
    }
    return (await look(place))?.id === this.holder.nonce;
  }

  /** The lock is taken: its file lives as long as its holder. */
  taken(): Taken {
    const { lock, holder } = this;
    const lost = new AbortController();
    const isMine = async () => (await look(lock))?.id === holder.nonce;
    const beat = async () => {
      const now = new Date();
      await using file = await open(lock, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
      if (await isMine()) await file.utimes(now, now);
      else lost.abort();
    };
    const timer = setInterval(() => {
      beat().catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') lost.abort();
      });
    }, BEAT_MS).unref();
    lost.signal.addEventListener('abort', () => clearInterval(timer));
    const release = async () => {
      clearInterval(timer);
      // What the lock was for is done: a file that cannot be removed is taken over by the next one who wants it here.
      if (await isMine().catch(() => !lost.signal.aborted)) await rm(lock, { force: true }).catch(() => {});
      holding.delete(holder.nonce);
    };
    this.isTaken = true;
    return { release, lost: lost.signal };
  }

  private async close(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close().catch(() => {});
    // One that stays is removed by a later process.
    if (file) await rm(this.path, { force: true }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    if (!this.isTaken) holding.delete(this.holder.nonce);
  }
}

/** What a system says that gives no hard links: its file system knows none, or Android forbids them (EACCES, in a folder that can be written). */
const NO_LINKS = new Set(['EACCES', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EXDEV']);

/** Locks that this process has had: what crashes left beside one is looked for once. */
const tidied = new Set<string>();

/**
 * Takes the lock file `path`, or says who holds it. The lock of a process that is gone is taken over.
 * @throws LoamError when the file cannot be written
 */
export async function tryLock(path: string): Promise<Lock> {
  await using draft = new Draft(path);
  try {
    for (;;) {
      const found = await look(path);
      const held = found && judge(path, found);
      if (held) return held;
      const blocked = found && (await clear(path, found, draft));
      if (blocked) return blocked;
      if (await draft.claim(path)) break;
    }
  } catch (error) {
    throw explainWriteError(error, path);
  }
  watched.delete(path);
  if (!tidied.has(path)) await tidy(path);
  tidied.add(path);
  return draft.taken();
}

/** Removes a file whose holder is gone. @returns who has the right to, if it is not this process */
async function clear(path: string, gone: Found, draft: Draft): Promise<Held | undefined> {
  const right = `${draft.lock}.${gone.id}.gone`;
  while (!(await draft.claim(right))) {
    const other = await look(right);
    // It has just been used.
    if (!other) return undefined;
    const held = judge(right, other) ?? (await clear(right, other, draft));
    if (held) return held;
  }
  try {
    const now = await look(path);
    if (now?.id === gone.id && !judge(path, now)) await remove(path);
  } finally {
    await rm(right, { force: true }).catch(() => {});
  }
  watched.delete(path);
  watched.delete(right);
  return undefined;
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    if (systemCode(error) !== 'ERR_FS_EISDIR') throw error;
    const found = 'there is a folder where a lock belongs';
    throw new LoamError({ code: 'unwritable', found, where: path, fix: 'remove it' }, { cause: error });
  });
}

/** Removes drafts that dead processes have left beside a lock that is ours, and what earlier versions did, as far as that can be done. */
async function tidy(path: string): Promise<void> {
  const name = basename(path);
  const names = await readdir(dirname(path)).catch((): string[] => []);
  for (const other of names) {
    if (!other.startsWith(`${name}.`) || !/\.(new|clearing)$/.test(other)) continue;
    const left = join(dirname(path), other);
    const found = await look(left).catch(() => undefined);
    const writer = Number(/\.(\d+)\.[0-9a-f]{32}\.new$/.exec(other)?.[1]);
    const holder = found?.holder ?? (writer > 0 ? { ...ownLife(), pid: writer, birth: null } : undefined);
    const isDead = holder ? lifeOf(holder) === 'dead' : other === `${name}.clearing`;
    if (isDead) await rm(left, { force: true }).catch(() => {});
  }
}

/** The sentence of all who find a lock taken. @param does what its holder does, as a clause: "is serving this folder" */
export function lockedBy(path: string, { heldBy }: Held, does: string): LoamError {
  return new LoamError({
    code: 'busy',
    found: heldBy === 0 ? `another process, which has just begun, ${does}` : `process ${heldBy} ${does}`,
    where: path,
    fix: 'wait for it or end it; if there is no such process any more, on this device or another, delete this file',
  });
}

interface Waiting {
  /** Milliseconds to wait for a holder that lives; one that may be dead gets the time to show it in any case. */
  patienceMs?: number;
  /** Milliseconds after which one that shows no sign of life, though it lives, is not waited for any longer: it is frozen. */
  mostSilentMs?: number;
  /** Told of the holder at each look, `retryMs` apart. */
  onWait?: (held: Held) => void;
  retryMs?: number;
  signal?: AbortSignal;
}

/** Takes a lock, and waits for it if need be; or says who holds it when patience has come to its end. Throws StoppedError. */
export async function awaitLock(path: string, waiting: Waiting = {}): Promise<Lock> {
  const { patienceMs = 0, mostSilentMs = Number.POSITIVE_INFINITY, retryMs = RETRY_MS, signal } = waiting;
  const began = performance.now();
  for (;;) {
    throwIfStopped(signal);
    const lock = await tryLock(path);
    if ('release' in lock) return lock;
    const patience = lock.doubtful ? Math.max(patienceMs, SILENT_MS + 2 * LOOK_MS) : patienceMs;
    if (performance.now() - began >= patience || lock.silentMs >= mostSilentMs) return lock;
    waiting.onWait?.(lock);
    const pause = lock.doubtful ? Math.max(retryMs, DOUBT_MS) : retryMs;
    await sleep(pause, undefined, { signal }).catch(() => {});
  }
}

/**
 * The same for those who cannot do without it.
 * @param does what its holder does, as a clause: "is writing to the vault"
 * @throws LoamError: busy, with the sentence of `lockedBy`; StoppedError
 */
export async function takeLock(path: string, does: string, waiting: Waiting = {}): Promise<Taken> {
  const lock = await awaitLock(path, waiting);
  if ('release' in lock) return lock;
  throw lockedBy(path, lock, does);
}

/** One asynchronous holder at a time, in order of asking. */
export class Mutex {
  private tail: Promise<void> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.tail.then(work);
    this.tail = result.then(
      () => {},
      () => {},
    );
    return result;
  }
}
