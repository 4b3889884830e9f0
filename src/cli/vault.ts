import { readFile, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { LoamError, StoppedError, systemCode, UsageError } from '../base/errors.js';
import { loamHome } from '../base/process.js';
import type { MemoryFile } from '../engine/memory.js';
import type { NamedBytes } from '../examples/example.js';
import type { Job } from '../serve/contract/jobs.js';
import { viewJob } from '../serve/jobs/Job.js';
import { JobQueue } from '../serve/jobs/JobQueue.js';
import { findServer } from '../serve/startServer.js';
import { findDataset, isReference, requireVersion } from '../store/adapters.js';
import { type AdapterVersion, WrongPassphraseError } from '../store/types.js';
import { Vault } from '../store/Vault.js';
import type { Output } from './output.js';

/**
 * Asks on the terminal before something is destroyed; `yes` (the flag --yes) answers for scripts.
 * @throws UsageError where there is no terminal to ask, StoppedError where the answer is another one
 */
export async function confirm(question: string, expected: string, yes: boolean, signal: AbortSignal): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError({ found: 'no terminal to ask on', expected: '--yes' });
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await reader.question(`${question} (type ${expected}) `, { signal });
    if (answer.trim() !== expected) throw new StoppedError('nothing was deleted');
  } catch (error) {
    throw error instanceof StoppedError ? error : new StoppedError();
  } finally {
    reader.close();
  }
}

/** Longest secret; a terminal that sends without end is no person. */
const MAX_LENGTH = 1024;

/** Asks for a line on the terminal that is not shown while it is typed. Throws StoppedError on Ctrl-C and Ctrl-D. */
export async function readSecret(question: string, stdin = process.stdin, stderr = process.stderr): Promise<string> {
  // Before the question: whoever answers at once (a program) is not shown either.
  stdin.setRawMode(true);
  stderr.write(question);
  stdin.setEncoding('utf8');
  stdin.resume();
  let typed: string[] = [];
  let stop = () => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      stop = () => reject(new StoppedError());
      process.on('SIGINT', stop);
      process.on('SIGTERM', stop);
      stdin.on('end', stop);
      stdin.on('data', (text: string) => {
        for (const character of text) {
          if (character === '\r' || character === '\n') return resolve(typed.join(''));
          if (character === '\x03' || character === '\x04') return reject(new StoppedError());
          if (character === '\x7f' || character === '\b') typed.pop();
          else if (character === '\x15') typed = [];
          else if (character >= ' ' && typed.length < MAX_LENGTH) typed.push(character);
        }
      });
    });
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    stdin.removeAllListeners('data');
    stdin.removeAllListeners('end');
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** A file with a passphrase is a line; more is another file, given by mistake. */
const MAX_FILE_BYTES = 4096;
/** Attempts at the terminal. scrypt alone makes guessing slow. */
const ATTEMPTS = 3;

/** The first line of a file with a passphrase. Throws LoamError. */
export async function readPassphraseFile(path: string): Promise<string> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES)
      throw new LoamError({ found: `a file of ${size} bytes`, expected: 'one line with the passphrase', where: path });
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof LoamError) throw error;
    const code = systemCode(error);
    throw new LoamError({
      found: code === 'ENOENT' ? 'there is no file here' : `the file cannot be read (${code})`,
      where: path,
    });
  }
  const [line = ''] = text.split(/\r?\n/);
  if (line === '') throw new UsageError({ found: 'an empty first line', expected: 'the passphrase', where: path });
  return line;
}

/**
 * Opens the vault, with the passphrase from --passphrase-file, LOAM_PASSPHRASE or the terminal where it has one. Where there is no
 * vault yet it is made, unless `mustExist`. Tells of damage.
 */
export async function openVault(
  options: { passphraseFile?: string },
  output: Output,
  { mustExist = false } = {},
): Promise<Vault> {
  const home = loamHome();
  const state = Vault.state(home);
  if (state === 'absent' && mustExist) {
    throw new LoamError({
      found: 'there is no vault yet',
      where: loamHome('vault'),
      fix: 'loam data add FILE and loam tune DATA --keep NAME make one',
    });
  }
  const vault = state === 'passphrase' ? await unlock(home, options.passphraseFile, output) : await Vault.open(home);
  for (const problem of vault.problems) output.line(`note: ${problem}`);
  return vault;
}

async function unlock(home: string, file: string | undefined, output: Output): Promise<Vault> {
  const given = file === undefined ? process.env.LOAM_PASSPHRASE : await readPassphraseFile(file);
  if (given !== undefined) return await Vault.open(home, { passphrase: given });
  if (!process.stdin.isTTY || !process.stderr.isTTY) return await Vault.open(home);
  for (let attempt = 1; ; attempt++) {
    try {
      return await Vault.open(home, { passphrase: await readSecret('passphrase of the vault: ') });
    } catch (error) {
      if (!(error instanceof WrongPassphraseError) || attempt === ATTEMPTS) throw error;
      output.line('this is not the passphrase');
    }
  }
}

/**
 * Arguments that name a file or something in the vault. The vault is opened at the first that does; what was taken from it is gone
 * when this is closed.
 */
export class VaultArguments implements AsyncDisposable {
  private opened: Vault | undefined;
  private readonly files: MemoryFile[] = [];

  constructor(
    private readonly options: { passphraseFile?: string },
    private readonly output: Output,
  ) {}

  /** The vault; made where there is none, unless something in it is asked for. */
  async vault({ mustExist = false } = {}): Promise<Vault> {
    this.opened ??= await openVault(this.options, this.output, { mustExist });
    return this.opened;
  }

  /** A path as it is; of `vault:NAME` the content, decrypted in memory. */
  async data(argument: string): Promise<string | NamedBytes> {
    if (!isReference(argument)) return argument;
    const vault = await this.vault({ mustExist: true });
    const { id, name, excluded } = findDataset(vault, argument);
    return { name: `vault:${name}`, bytes: await vault.datasets.read(id), excluded };
  }

  /** A path as it is; of `vault:NAME[@N]` one that leads to memory, until this is closed. */
  async adapterPath(argument: string): Promise<string>;
  async adapterPath(argument: string | undefined): Promise<string | undefined>;
  async adapterPath(argument: string | undefined): Promise<string | undefined> {
    if (argument === undefined || !isReference(argument)) return argument;
    const vault = await this.vault({ mustExist: true });
    const file = await vault.adapters.openForInference(requireVersion(vault, argument).version.id);
    this.files.push(file);
    return file.path;
  }

  async close(): Promise<void> {
    for (const file of this.files.splice(0)) await file[Symbol.asyncDispose]();
    await this.opened?.[Symbol.asyncDispose]();
    this.opened = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The jobs of the vault: the server's where one runs, else as they were left. */
export interface Jobs {
  /** Whether a server runs, which works on them. */
  served: boolean;
  /** Oldest first. */
  list(): Promise<Job[]>;
  pause(id: string): Promise<Job>;
  resume(id: string): Promise<Job>;
  cancel(id: string, keep: boolean): Promise<Job>;
  remove(id: string): Promise<void>;
}

export async function withJobs<T>(
  options: { passphraseFile?: string },
  output: Output,
  use: (jobs: Jobs) => Promise<T>,
): Promise<T> {
  const server = await findServer(loamHome());
  if ('request' in server) {
    const post = (id: string, what: string, body: object) =>
      server.request<Job>('POST', `/api/jobs/${id}/${what}`, body);
    return await use({
      served: true,
      list: async () => (await server.request<{ jobs: Job[] }>('GET', '/api/jobs')).jobs.reverse(),
      pause: (id) => post(id, 'pause', {}),
      resume: (id) => post(id, 'resume', {}),
      cancel: (id, keep) => post(id, 'cancel', { keep }),
      remove: async (id) => {
        await server.request('DELETE', `/api/jobs/${id}`);
      },
    });
  }
  try {
    await using vault = await openVault(options, output, { mustExist: true });
    await using queue = await JobQueue.open(loamHome(), vault);
    return await use({
      served: false,
      list: async () => queue.list().map(viewJob),
      pause: async (id) => viewJob(await queue.pause(id)),
      resume: async (id) => viewJob(await queue.resume(id)),
      cancel: async (id, keep) => viewJob(await queue.cancel(id, { keep })),
      remove: (id) => queue.remove(id),
    });
  } finally {
    await server.release();
  }
}

/** The job that an argument names: its id, the beginning of it, or the name of its adapter if that is one job's. Throws LoamError. */
export async function findJob(jobs: Jobs, argument: string): Promise<Job> {
  const all = await jobs.list();
  const found = all.filter(({ id }) => id === argument || (argument.length >= 4 && id.startsWith(argument)));
  const named = all.filter(({ name }) => name === argument);
  const open = named.filter(({ state }) => state !== 'done' && state !== 'failed' && state !== 'cancelled');
  const fits = found.length > 0 ? found : named.length > 1 && open.length === 1 ? open : named;
  if (fits.length === 1) return fits[0]!;
  throw new LoamError({
    found: fits.length === 0 ? `there is no job "${argument}"` : `"${argument}" means ${fits.length} jobs`,
    expected: fits.length === 0 ? undefined : `one of ${fits.map(({ id }) => id.slice(0, 8)).join(', ')}`,
    fix: 'see loam jobs list',
  });
}

/** "me@1, me@3" */
export function namesOf(vault: Vault, versions: readonly AdapterVersion[]): string {
  const names = new Map(vault.adapters.list().map(({ id, name }) => [id, name]));
  return versions.map(({ adapter, number }) => `${names.get(adapter) ?? '?'}@${number}`).join(', ');
}
