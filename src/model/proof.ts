import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAwake, startChild } from '../base/child.js';
import { LoamError, StoppedError, throwIfStopped } from '../base/errors.js';
import { loamHome, type SentError, unpackError, version } from '../base/process.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { readHyperparameters } from './hyperparameters.js';

/**
 * The wall before native code. A model file that passes every check of ours is first tried in a process of its own, with a time limit:
 * whatever libllama does with it there, an abort, an exception, a loop without end, is a stated error here. That it went well is kept by
 * the file's size, time and inode, so that it is paid once for each file.
 */

export type ProofReport =
  | { type: 'vocabulary' }
  | { type: 'weights' }
  | { type: 'proven' }
  | { type: 'failed'; error: SentError };

const program = fileURLToPath(new URL('./proofWorker.js', import.meta.url));

/** Milliseconds for starting; then for the tokeniser, of which the largest takes a phone two seconds; then for the weights. */
const startMs = 30_000;
const vocabularyMs = (tokens: number) => 4000 + tokens / 25;
/** A slow card reads 10 MB in a second, and computing with them takes less. */
const weightsMs = (bytes: number) => 4000 + bytes / 10_000;

/** Proofs that are kept: empty files by the hash of what was proven. */
const most = 1000;

/** Those of this process, for a folder that cannot be written. */
const known = new Set<string>();

async function keyOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  const engine = process.env.LOAM_GGML_DIR ?? '';
  const parts = [version, engine, process.env.LOAM_GPU ?? '', dev, ino, size, mtimeNs, ctimeNs];
  return createHash('sha256').update(parts.join('\n')).digest('hex');
}

async function isKept(folder: string, key: string): Promise<boolean> {
  if (known.has(key)) return true;
  return await stat(join(folder, key)).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function keep(folder: string, key: string): Promise<void> {
  known.add(key);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const names = await readdir(folder);
    if (names.length >= most) await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
    await (await open(join(folder, key), 'w', 0o600)).close();
  } catch {
    // Nothing can be written there: the next command proves the file again.
  }
}

/**
 * Makes sure that libllama can take a model file: by what is known of it, by all checks, then by trying. Returns at once for a file that
 * has been tried before and has not been touched since.
 * @param home instead of LOAM_HOME
 * @throws LoamError of the checks; LoamError (process-died) that names the file, where libllama died or took too long; StoppedError
 */
export async function proveModel(
  path: string,
  { home = loamHome(), signal }: { home?: string; signal?: AbortSignal } = {},
): Promise<void> {
  const folder = join(home, 'proven');
  const key = await keyOf(path);
  if (await isKept(folder, key)) return;
  const gguf = await readGguf(path);
  const { vocabulary } = readHyperparameters(gguf);
  await tryOut(path, { vocabulary: vocabularyMs(vocabulary), weights: weightsMs(gguf.size) }, signal);
  // A file that was exchanged meanwhile is not the one that was tried.
  if ((await keyOf(path)) === key) await keep(folder, key);
}

async function tryOut(
  path: string,
  limits: { vocabulary: number; weights: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfStopped(signal);
  const child = startChild(program, { kind: 'trial' });
  let endWait = () => {};
  let timedOut = false;
  const limit = (ms: number) => {
    endWait();
    endWait = afterAwake(ms, () => {
      timedOut = true;
      child.kill('SIGKILL');
    });
  };
  const stop = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('message', (report: ProofReport) => {
        if (report.type === 'vocabulary') limit(limits.vocabulary);
        if (report.type === 'weights') limit(limits.weights);
        if (report.type === 'proven') resolve();
        if (report.type === 'failed') reject(unpackError(report.error));
      });
      child.once('error', reject);
      child.once('close', (code, killed) => {
        const how = timedOut
          ? 'took too long and was ended'
          : `was ended by the system (${killed ?? `exit code ${code}`})`;
        reject(signal?.aborted ? new StoppedError() : died(path, how));
      });
      limit(startMs);
      child.send(path, (error) => error && reject(error));
    });
  } finally {
    endWait();
    signal?.removeEventListener('abort', stop);
    child.kill('SIGKILL');
  }
}

const died = (path: string, how: string): LoamError =>
  new LoamError({
    code: 'process-died',
    found: `the process that tried this model ${how}`,
    expected: 'a model that llama.cpp can compute with',
    where: path,
    fix: 'fetch the model again, or choose another one; with LOAM_NATIVE_LOG=1 it says more',
  });
