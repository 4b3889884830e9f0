import { type ChildProcess, spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { AdapterToWrite } from '../../adapters/loraGguf.js';
import { LoamError } from '../../base/errors.js';
import { packError, type SentError, unpackError } from '../../base/process.js';
import type { NamedBytes } from '../../examples/example.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import type { RunQuote, TuneEvent, TuneResult } from '../../train/events.js';
import type { TuneOptions } from '../../train/options.js';

const program = fileURLToPath(new URL('./tuneWorker.js', import.meta.url));

/** Milliseconds that a stopped run may take to save its checkpoint. */
const STOP_MS = 120_000;

/** How a process ended. */
export type Outcome =
  | { kind: 'result'; result: TuneResult; report?: MemorisedReport }
  | { kind: 'probed'; report: MemorisedReport }
  | { kind: 'quoted'; quote: RunQuote }
  | { kind: 'failed'; error: Error }
  /** Without a word: killed, or aborted in native code. */
  | { kind: 'died'; how: string };

interface TuneHandlers {
  onEvent(event: TuneEvent): void;
  /** @returns what to call the adapter */
  keep(bytes: Uint8Array, adapter: KeptAdapter, measured: boolean): Promise<string>;
  /** How far the probe for private details is. */
  onProbing(done: number, total: number): void;
}

/** Of runs that keep nothing. */
const noHandlers: TuneHandlers = {
  onEvent() {},
  onProbing() {},
  keep: () => Promise.reject(new Error('this run keeps nothing')),
};

/** One run in a process of its own. */
export class TuneProcess {
  private readonly child: ChildProcess;
  /** Never rejects. */
  readonly ended: Promise<Outcome>;
  private late: NodeJS.Timeout | undefined;

  private constructor(home: string, first: ToTuner, handlers: TuneHandlers) {
    this.child = spawn(process.execPath, [program], {
      env: { ...process.env, LOAM_HOME: home },
      // Ctrl-C in the terminal is its parent's affair.
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'ignore', process.env.LOAM_NATIVE_LOG ? 'inherit' : 'ignore', 'ipc'],
      serialization: 'advanced',
    });
    try {
      // At once, so that its threads inherit it; it does the same for those it has.
      if (this.child.pid !== undefined) setPriority(this.child.pid, constants.priority.PRIORITY_LOW);
    } catch {
      // It does it itself.
    }
    this.ended = this.run(handlers);
    this.tell(first);
  }

  static tune(home: string, task: TuneTask, handlers: TuneHandlers): TuneProcess {
    return new TuneProcess(home, { type: 'tune', task }, handlers);
  }

  /** What a run would take; it measures a layer, for some seconds. */
  static quote(home: string, task: QuoteTask): TuneProcess {
    return new TuneProcess(home, { type: 'quote', task }, noHandlers);
  }

  /** Asks an adapter for the private details of its data. */
  static probe(home: string, task: ProbeTask, onProbing: TuneHandlers['onProbing']): TuneProcess {
    return new TuneProcess(home, { type: 'probe', task }, { ...noHandlers, onProbing });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Ends it after it has saved its checkpoint. */
  stop(): void {
    this.tell({ type: 'stop' });
    this.late ??= setTimeout(() => this.kill(), STOP_MS);
  }

  /** Ends it now; what it did since its last checkpoint is lost. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  private tell(message: ToTuner): void {
    if (this.child.connected) this.child.send(message, () => {});
  }

  private async run({ onEvent, keep, onProbing }: TuneHandlers): Promise<Outcome> {
    let outcome: Outcome | undefined;
    let keeping: Promise<void> = Promise.resolve();
    this.child.on('message', (message: FromTuner) => {
      if (message.type === 'event') onEvent(message.event);
      if (message.type === 'result') outcome = { kind: 'result', result: message.result };
      if (message.type === 'quoted') outcome = { kind: 'quoted', quote: message.quote };
      if (message.type === 'probing') onProbing(message.done, message.total);
      if (message.type === 'probed') {
        const { report } = message;
        outcome = outcome?.kind === 'result' ? { ...outcome, report } : { kind: 'probed', report };
      }
      // A probe that fails takes nothing from a run that has succeeded.
      if (message.type === 'failed' && outcome?.kind !== 'result')
        outcome = { kind: 'failed', error: unpackError(message.error) };
      if (message.type !== 'keep') return;
      const { bytes, adapter, measured } = message;
      keeping = keep(bytes, adapter, measured).then(
        (label) => this.tell({ type: 'kept', label }),
        (error: unknown) => this.tell({ type: 'not-kept', error: packError(error) }),
      );
    });
    const died = await new Promise<string>((resolve) => {
      this.child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
      // All messages have arrived when the pipe has closed.
      this.child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    clearTimeout(this.late);
    await keeping;
    return outcome ?? { kind: 'died', how: died };
  }
}

export function diedError(how: string): LoamError {
  return new LoamError({
    found: `the process that works was ended by the system (${how})`,
    fix: 'close other programs if memory is short',
  });
}

/** What passes between the queue and the process that tunes: over a pipe, so that nothing of it touches a disk. */

export interface TuneTask {
  data: NamedBytes;
  heldout?: NamedBytes;
  /** Of `tune`; paths of adapters stand as bytes below. */
  options: TuneOptions;
  start?: Uint8Array;
  teacher?: Uint8Array;
  /** Name of the adapter. */
  name: string;
  /** Seals what the run leaves on the disk. */
  key: Uint8Array;
  /** Seconds that the probe for private details may take after tuning; 0: no probe. */
  probeSeconds: number;
}

/** Asks an adapter for the private details of what it has learnt. */
export interface ProbeTask {
  model: string;
  adapter: Uint8Array;
  name: string;
  data: readonly NamedBytes[];
  seconds: number;
}

type QuoteTask = Pick<TuneTask, 'data' | 'options'>;

/** What the vault needs to know of an adapter beside its bytes. */
type KeptAdapter = Pick<AdapterToWrite, 'base' | 'recipe' | 'metrics'>;

export type ToTuner =
  | { type: 'tune'; task: TuneTask }
  | { type: 'quote'; task: QuoteTask }
  | { type: 'probe'; task: ProbeTask }
  | { type: 'stop' }
  | { type: 'kept'; label: string }
  | { type: 'not-kept'; error: SentError };

export type FromTuner =
  | { type: 'event'; event: TuneEvent }
  | { type: 'keep'; bytes: Uint8Array; adapter: KeptAdapter; measured: boolean }
  | { type: 'result'; result: TuneResult }
  | { type: 'quoted'; quote: RunQuote }
  | { type: 'probing'; done: number; total: number }
  | { type: 'probed'; report: MemorisedReport }
  | { type: 'failed'; error: SentError };
