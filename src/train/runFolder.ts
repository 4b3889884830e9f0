import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, readdir, rm, rmdir } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { seal, unseal } from '../base/crypto.js';
import { LoamError, systemCode } from '../base/errors.js';
import { explainWriteError, makeFolder, readText, writeFileAtomic } from '../base/io.js';
import { isRecord } from '../base/json.js';
import { Mutex, type Taken, takeLock } from '../base/lock.js';
import { openOwn } from '../base/ownFiles.js';
import { loamHome } from '../base/process.js';
import { sweepUnfinished } from '../base/unfinished.js';
import { runLock, sealedFolder } from '../store/runKeys.js';
import { removeCheckpoints } from './checkpoint.js';
import { SLOTS, slotPath } from './checkpointFile.js';

/** What versions of Loam whose unfinished files named nobody have left. */
const PARTIAL = /^\.[^.].*\.[0-9a-f]{8}\.partial$/;

/** Removes what killed runs left unfinished in a folder; each may be as large as a checkpoint. Nobody else may be writing there. */
async function removePartials(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (PARTIAL.test(name)) await rm(join(folder, name), { force: true });
  }
  await sweepUnfinished(folder);
  // Beside the folder lies what the device's prices are written to.
  await sweepUnfinished(loamHome());
}

const VERSION = 1;
/** Of run.json: it holds settings and hashes. */
const MOST_BYTES = 1 << 20;

/** Characters of the output's name in the folder's: four bytes each at most, and file systems take 255 bytes. */
const NAME_LENGTH = 60;

const PURPOSE = 'run';

/** What a folder says of the run that began in it. */
export interface Begun {
  /** As it was found: of any version of Loam. */
  identity: Record<string, unknown>;
  /** ISO 8601. */
  startedAt?: string;
}

/** A line of `metrics.jsonl`, as it is found. Holds figures, never the user's text. */
type MetricEvent = Record<string, unknown>;

/**
 * The folder of one output's training run: `run.json` (what is computed), `metrics.jsonl` (how it went) and, while it runs or after
 * it was killed, its checkpoints. One process at a time has it, until it is disposed of or dies.
 */
export class RunFolder implements AsyncDisposable {
  private readonly writing = new Mutex();
  private appending: FileHandle | undefined;

  private constructor(
    readonly path: string,
    /** What it holds is sealed with this. */
    readonly key: Uint8Array | undefined,
    private readonly lock: Taken,
  ) {}

  /**
   * The folder that belongs to an output path, made if there is none, readable by the owner only; what a killed run left
   * unfinished in it is removed.
   * @param key seals whatever the run keeps here; the folder then belongs to the key and not to the path, which it does not tell
   * @throws LoamError when a living process has it, or it cannot be written
   */
  static async open(outPath: string, key?: Uint8Array): Promise<RunFolder> {
    const out = key ? outPath : resolve(outPath);
    const hash = createHash('sha256').update(out).digest('hex').slice(0, 12);
    const name = [...basename(out, extname(out))].slice(0, NAME_LENGTH).join('');
    const path = key ? sealedFolder(loamHome(), key) : loamHome('runs', `${name}-${hash}`);
    try {
      await makeFolder(path, 0o700);
    } catch (error) {
      throw explainWriteError(error, path);
    }
    const lock = await takeLock(runLock(path), `is training this adapter (${out})`);
    try {
      await removePartials(path);
    } catch (error) {
      await lock.release();
      throw explainWriteError(error, path);
    }
    return new RunFolder(path, key, lock);
  }

  get metricsPath(): string {
    return join(this.path, 'metrics.jsonl');
  }
  private get runPath(): string {
    return join(this.path, 'run.json');
  }

  /** Starts over: what an earlier run left here is removed. Throws LoamError when the disk is full or read-only. */
  async start(identity: object): Promise<void> {
    await this.close();
    // In this order a kill in between never leaves checkpoints of one run beside the identity of another.
    await removeCheckpoints(this.path);
    await writeFileAtomic(this.metricsPath, '');
    await this.note(identity, new Date().toISOString());
  }

  /** Notes what a run that goes on has become. */
  async goOn(identity: object): Promise<void> {
    const begun = await this.begun();
    await this.note(identity, (typeof begun === 'object' && begun.startedAt) || new Date().toISOString());
  }

  private async note(identity: object, startedAt: string): Promise<void> {
    const run = { version: VERSION, startedAt, ...(this.key ? { sealed: this.seal(identity) } : { identity }) };
    await writeFileAtomic(this.runPath, `${JSON.stringify(run, null, 2)}\n`);
  }

  /** Whether a run that has not ended left something to go on from, whole or not. */
  async hasCheckpoints(): Promise<boolean> {
    const names = await readdir(this.path);
    return SLOTS.some((slot) => names.includes(basename(slotPath(this.path, slot))));
  }

  /** What began here, or why that cannot be told, as a clause. */
  async begun(): Promise<Begun | string> {
    let run: unknown;
    try {
      run = JSON.parse(await readText(this.runPath, MOST_BYTES));
    } catch (error) {
      return `run.json: ${error instanceof LoamError ? error.fault.found : 'it is damaged, expected JSON'}`;
    }
    const began = !isRecord(run) ? undefined : this.key ? this.unseal(run.sealed) : run.identity;
    if (!isRecord(run) || !isRecord(began)) return 'run.json: it lacks the identity of the run';
    if (run.version !== VERSION) return `run.json: found version ${JSON.stringify(run.version)}, expected ${VERSION}`;
    return { identity: began, startedAt: typeof run.startedAt === 'string' ? run.startedAt : undefined };
  }

  private seal(value: unknown): string {
    return seal(this.key!, PURPOSE, Buffer.from(JSON.stringify(value))).toString('base64');
  }

  /** Undefined for what this key has not sealed. */
  private unseal(text: unknown): unknown {
    const plain = typeof text === 'string' ? unseal(this.key!, PURPOSE, Buffer.from(text, 'base64')) : undefined;
    return plain && JSON.parse(plain.toString());
  }

  private lineOf(event: object): string {
    return `${this.key ? this.seal(event) : JSON.stringify(event)}\n`;
  }

  /**
   * Appends an event to the metrics; they appear in the order of the calls. The caller sees to it that no text of the user is in it.
   * @throws LoamError when the disk is full
   */
  async record(event: object): Promise<void> {
    // Now, not when its turn comes: the caller may go on to change it.
    const line = this.lineOf(event);
    if (this.lock.lost.aborted) {
      throw new LoamError({
        code: 'busy',
        found: 'another process has taken this run over, because this one seemed to have ended',
        where: this.path,
        fix: 'let that one go on',
      });
    }
    await this.writing.run(async () => {
      try {
        this.appending ??= await openLines(this.metricsPath);
        const { size } = await this.appending.stat();
        try {
          await this.appending.appendFile(line);
        } catch (error) {
          // The next line must not continue half of this one.
          await this.appending.truncate(size).catch(() => {});
          throw error;
        }
      } catch (error) {
        throw explainWriteError(error, this.metricsPath);
      }
    });
  }

  /** Keeps only the metrics for which `keep` is true: on a resume those up to the checkpoint. A torn last line goes too. */
  async rewindMetrics(keep: (event: MetricEvent) => boolean): Promise<void> {
    const kept = (await this.metrics()).filter(keep);
    await this.close();
    await this.writing.run(() => writeFileAtomic(this.metricsPath, kept.map((event) => this.lineOf(event)).join('')));
  }

  /**
   * All metrics, in the order in which they were recorded. What is no JSON object is left out: the last line of a killed process may
   * be torn, and figures about a run are not worth failing it.
   */
  metrics(): Promise<MetricEvent[]> {
    return this.writing.run(async () => {
      const bytes = await readLines(this.metricsPath);
      return [...lines(bytes)].flatMap((line) => {
        try {
          const event: unknown = this.key ? this.unseal(line) : JSON.parse(line);
          return isRecord(event) ? [event] : [];
        } catch {
          return [];
        }
      });
    });
  }

  /** Ends the run: its checkpoints go, `run.json` and the metrics stay; of a sealed run nothing does. */
  async finish(): Promise<void> {
    await this.close();
    await removeCheckpoints(this.path);
    if (!this.key) return;
    await rm(this.metricsPath, { force: true });
    await rm(this.runPath, { force: true });
  }

  /** Lets the next process have the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.lock.release();
    // Of a run that left nothing. Fails if another process has just begun here.
    await rmdir(this.path).catch(() => {});
  }

  private close(): Promise<void> {
    return this.writing.run(async () => {
      await this.appending?.close();
      this.appending = undefined;
    });
  }
}

async function readLines(path: string): Promise<Buffer> {
  try {
    await using file = await openOwn(path);
    return await file.readFile();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

/** A file of lines, for appending whole ones: a torn last line is ended. */
async function openLines(path: string): Promise<FileHandle> {
  const file = await openOwn(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT);
  try {
    const { size } = await file.stat();
    const last = Buffer.alloc(1);
    if (size > 0) await file.read(last, 0, 1, size - 1);
    if (size > 0 && last[0] !== 0x0a) await file.appendFile('\n');
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Line by line, so that no text is longer than a line: a JavaScript string ends at 512 MiB, and a long run's metrics may not. */
function* lines(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(0x0a, at);
    const end = found < 0 ? bytes.length : found;
    yield bytes.toString('utf8', at, end);
    at = end + 1;
  }
}
