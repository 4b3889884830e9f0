import { type ChildProcess, spawn } from 'node:child_process';
import { StoppedError, throwIfStopped } from './errors.js';
import { readKernelFile } from './kernelFiles.js';

/**
 * Child processes. A token or a passphrase in our environment is for us alone, so no child gets all of it: each gets the variables that
 * its kind of program needs, by name. What our own children print is lost, but for the native log where that is asked for.
 */

/** Where programs, libraries and the user's folders are, and the language. */
const common = `PATH HOME USER LOGNAME SHELL TERM TZ LANG LANGUAGE LC_* TMPDIR TEMP TMP LD_LIBRARY_PATH DYLD_LIBRARY_PATH LD_PRELOAD
  PREFIX TERMUX_* TERMUX__* ANDROID_* BOOTCLASSPATH DEX2OATBOOTCLASSPATH EXTERNAL_STORAGE
  SystemRoot SystemDrive windir ComSpec PATHEXT USERPROFILE USERNAME HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA ProgramData ProgramFiles
  ProgramFiles(x86) NUMBER_OF_PROCESSORS PROCESSOR_ARCHITECTURE`;

/** How the engine is found and used, and what its backends read. */
const engine = `LOAM_GGML_DIR LOAM_GPU LOAM_NATIVE_LOG LOAM_THREADS GGML_* CUDA_* NVIDIA_* HIP_* ROCR_* HSA_* VK_* MESA_* SYCL_* ONEAPI_*
  ZE_* OMP_* GOMP_* KMP_*`;

const kinds = {
  /** A process of ours that tries what is foreign. */
  trial: engine,
  /** Loam's own processes: its settings but the passphrases, and those of Node. */
  worker: `${engine} LOAM_HOME LOAM_CHECKPOINT_SECONDS LOAM_PATIENCE LOAM_DEVICE LOAM_DEVICE_SECONDS NODE_OPTIONS NODE_V8_COVERAGE`,
  /** pip: its own settings, the person's Python, and how to reach an index. */
  python: `PIP_* PYTHON* VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV PYENV_* XDG_* NETRC SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE
    CURL_CA_BUNDLE HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy`,
  /** What opens a page in the person's browser. */
  desktop: `DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS XDG_* BROWSER DESKTOP_SESSION GDMSESSION SESSION_MANAGER
    KDE_* GNOME_* GTK_* QT_* MOZ_* WSL_* WSLENV WSL_INTEROP`,
};

/** The variables of ours that a kind of program gets, and `more`. */
export function environmentOf(kind: keyof typeof kinds, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const listed = `${common} ${kinds[kind]}`.split(/\s+/);
  const names = new Set(listed.map(fold));
  const beginnings = listed.filter((name) => name.endsWith('*')).map((name) => fold(name.slice(0, -1)));
  const given = Object.entries(process.env).filter(
    ([name]) => names.has(fold(name)) || beginnings.some((beginning) => fold(name).startsWith(beginning)),
  );
  return { ...Object.fromEntries(given), ...more };
}

/** Windows takes names in any case. */
function fold(name: string): string {
  return process.platform === 'win32' ? name.toUpperCase() : name;
}

interface ChildOptions {
  /** Of the environment. */
  kind: 'trial' | 'worker';
  env?: NodeJS.ProcessEnv;
  /** Of Node. */
  flags?: readonly string[];
}

/** Of Node, for programs of our own: V8 by itself takes 32 MB for young objects and keeps them, which a phone has better uses for. */
export const youngObjects = '--max-semi-space-size=2';

/** Starts a program of our own, with a pipe for messages. */
export function startChild(program: string, { kind, env, flags = [] }: ChildOptions): ChildProcess {
  const child = spawn(process.execPath, [youngObjects, ...flags, program], {
    env: environmentOf(kind, env),
    // Ctrl-C in the terminal is its parent's affair: on Linux and macOS it would reach the whole group.
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'ignore', process.env.LOAM_NATIVE_LOG ? 'inherit' : 'ignore', 'ipc'],
    serialization: 'advanced',
  });
  // Errors may come more than once, and one that nobody hears would end this process.
  child.on('error', () => {});
  return child;
}

/** A request to a program of our own, and what its answer and its death mean. */
interface Asked<Report, Answer> {
  /** Of a report, undefined while more are to come; throws what the program failed with. */
  answerOf: (report: Report) => Answer | undefined;
  /** @param how the process ended, after "the process": "was ended by the system (SIGABRT)" */
  died: (how: string) => Error;
  onStart?: (child: ChildProcess) => void;
  signal?: AbortSignal;
}

/** Has a process of its own answer one request. It is ended whatever comes of it. @throws StoppedError, what `died` gives */
export async function askChild<Report, Answer>(
  program: string,
  request: object,
  { answerOf, died, onStart, signal }: Asked<Report, Answer>,
): Promise<Answer> {
  throwIfStopped(signal);
  const child = startChild(program, { kind: 'trial' });
  onStart?.(child);
  const stop = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      child.on('message', (report: Report) => {
        try {
          const answer = answerOf(report);
          if (answer !== undefined) resolve(answer);
        } catch (error) {
          reject(error);
        }
      });
      child.once('error', (error: NodeJS.ErrnoException) => {
        reject(died(`could not be started (${error.code ?? error.name})`));
      });
      child.once('close', (code, killed) => {
        reject(
          signal?.aborted ? new StoppedError() : died(`was ended by the system (${killed ?? `exit code ${code}`})`),
        );
      });
      // A process that is dead by now says so by its end.
      child.send(request, () => {});
    });
  } finally {
    signal?.removeEventListener('abort', stop);
    child.kill('SIGKILL');
  }
}

/** How often a limit of time is looked at. */
const TICK_MS = 50;

/**
 * Calls `onPassed` when this process has been awake for so many milliseconds: one that was frozen, or a device that slept, finds on waking
 * that its child may have answered in time.
 * @param waitsOn asked from then on, with the milliseconds so far, whether it is too early still
 * @returns a function that ends the wait
 */
export function afterAwake(
  ms: number,
  onPassed: () => void,
  waitsOn: (waited: number) => boolean = () => false,
): () => void {
  let waited = 0;
  const timer = setInterval(() => {
    waited += TICK_MS;
    if (waited < ms || waitsOn(waited)) return;
    clearInterval(timer);
    onPassed();
  }, TICK_MS);
  return () => clearInterval(timer);
}

/** How much longer than its time a child is waited for that gets too little of the processor. */
export const HELD_UP = 10;

/**
 * The same for what a child computes: where the system tells how much of the processor it has had, one that others hold up is given the
 * time to have half of it.
 */
export function afterWork({ pid }: ChildProcess, ms: number, onPassed: () => void): () => void {
  const before = pid === undefined ? undefined : processorMs(pid);
  return afterAwake(ms, onPassed, (waited) => {
    const now = before === undefined ? undefined : processorMs(pid!);
    return now !== undefined && now - before! < ms / 2 && waited < HELD_UP * ms;
  });
}

/** Times that are looked at within a silence. */
const SILENT_TICKS = 20;

/**
 * Calls `onSilent` when a child that sends messages now and then has sent none for so many milliseconds of ours and its own: one that is
 * frozen, where the system tells, or a device that slept, is not silent.
 * @returns a function that ends the wait
 */
export function afterSilence(child: ChildProcess, ms: number, onSilent: () => void): () => void {
  let silent = 0;
  const heard = () => {
    silent = 0;
  };
  child.on('message', heard);
  let had = processorMs(child.pid!);
  const timer = setInterval(() => {
    const now = processorMs(child.pid!);
    const works = now === undefined || now !== had;
    had = now;
    if (works && ++silent >= SILENT_TICKS) {
      end();
      onSilent();
    }
  }, ms / SILENT_TICKS);
  const end = () => {
    clearInterval(timer);
    child.off('message', heard);
  };
  return end;
}

/** Milliseconds of the processor that a process has had (Linux: proc(5), fields 14 and 15, hundredths of a second). */
function processorMs(pid: number): number | undefined {
  const text = readKernelFile('/proc', String(pid), 'stat');
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  return Number.isFinite(ticks) ? 10 * ticks : undefined;
}
