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
 * The wall before native code. A model or adapter file that passes every check of ours is first tried in a process of its own, with a time limit:
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

/** A model alone, or with an adapter on. */
export interface ProofRequest {
  model: string;
  adapter?: string;
}

async function keyOf({ model, adapter }: ProofRequest): Promise<string> {
  const parts: unknown[] = [version, process.env.LOAM_GGML_DIR ?? '', process.env.LOAM_GPU ?? ''];
  for (const path of adapter === undefined ? [model] : [model, adapter]) {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    parts.push(dev, ino, size, mtimeNs, ctimeNs);
  }
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
    await (await open(join(folder, key), 'wx', 0o600)).close();
  } catch {
    // Nothing can be written there: the next command proves the file again.
  }
}

interface ProofOptions {
  /** Instead of LOAM_HOME. */
  home?: string;
  signal?: AbortSignal;
}

/**
 * Makes sure that libllama can take a model file: by what is known of it, by all checks, then by trying. Returns at once for a file that
 * has been tried before and has not been touched since.
 * @throws LoamError of the checks; LoamError (process-died) that names the file, where libllama died or took too long; StoppedError
 */
export async function proveModel(model: string, options: ProofOptions = {}): Promise<void> {
  await proveOnce({ model }, options, async () => readHyperparameters(await readGguf(model)).vocabulary);
}

/** The same of an adapter on a model, both of which have passed their checks. A file that lies in memory is one of ours. */
export async function proveAdapter(
  request: Required<ProofRequest> & { vocabulary: number },
  options: ProofOptions = {},
): Promise<void> {
  const { model, adapter, vocabulary } = request;
  if (adapter.startsWith('/proc/self/')) return;
  await proveOnce({ model, adapter }, options, async () => vocabulary);
}

/** @param check of the files, without native code; returns the tokens of the model */
async function proveOnce(
  request: ProofRequest,
  { home = loamHome(), signal }: ProofOptions,
  check: () => Promise<number>,
): Promise<void> {
  const folder = join(home, 'proven');
  const key = await keyOf(request);
  if (await isKept(folder, key)) return;
  const vocabulary = await check();
  const { size } = await stat(request.model);
  await tryOut(request, { vocabulary: vocabularyMs(vocabulary), weights: weightsMs(size) }, signal);
  // A file that was exchanged meanwhile is not the one that was tried.
  if ((await keyOf(request)) === key) await keep(folder, key);
}

async function tryOut(
  request: ProofRequest,
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
      child.once('error', (error: NodeJS.ErrnoException) => {
        reject(died(request, `could not be started (${error.code ?? error.name})`));
      });
      child.once('close', (code, killed) => {
        const how = timedOut
          ? 'took too long and was ended'
          : `was ended by the system (${killed ?? `exit code ${code}`})`;
        reject(signal?.aborted ? new StoppedError() : died(request, how));
      });
      limit(startMs);
      // A process that is dead by now says so by its end.
      child.send(request, () => {});
    });
  } finally {
    endWait();
    signal?.removeEventListener('abort', stop);
    child.kill('SIGKILL');
  }
}

const died = ({ model, adapter }: ProofRequest, how: string): LoamError =>
  new LoamError({
    code: 'process-died',
    found: `the process that tried this ${adapter === undefined ? 'model' : 'adapter'} ${how}`,
    expected: 'a file that llama.cpp can compute with',
    where: adapter ?? model,
    fix: 'fetch it again, or choose another one; with LOAM_NATIVE_LOG=1 it says more',
  });
