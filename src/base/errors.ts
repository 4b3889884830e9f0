/**
 * The few error classes of Loam. A message is one sentence: what was found, what was expected, where, what to do. Callers decide by
 * the code, never by the sentence.
 */

/** What kind of failure it is. A code keeps its meaning once it is published: programs decide by it. */
export const errorCodes = {
  failed: 'a stated failure of no kind of its own',
  usage: 'a wrong flag, argument or option',
  stopped: 'ended early because the caller asked for it',
  unsupported: 'known, but not something that Loam does',
  forbidden: 'whoever has it does not give it to this user',
  'not-found': 'no file, model, adapter or other thing of this name is there',
  exists: 'something of this name is there already',
  busy: 'another process or a running job holds what is needed',
  conflict: 'it was changed in the meantime, or its present state does not allow this',
  changed: 'it is no longer what the caller has seen of it, and means to change',
  confirm: 'asks for a confirmation that was not given',
  unreadable: 'the file system refuses to read it',
  unwritable: 'the file system refuses to write it',
  'disk-full': 'the disk, or the share of it that may be used, is full',
  'out-of-memory': 'it does not fit into the memory that is free',
  damaged: 'a file is cut off, contradicts itself or breaks its format',
  'wrong-format': 'a file of another format than what is read here',
  'invalid-data': 'examples, fields or settings that cannot be used as they are',
  'speaker-unknown': 'a chat of several people, and it is not said whose answers are to be learnt',
  'no-examples': 'no record of the data can be learnt',
  'too-large': 'beyond a stated limit',
  'too-long': 'a prompt that the context has no room for',
  mismatch: 'belongs to another base model, or does not fit it',
  template: 'the chat template refused, or took too long',
  'no-gain': 'the adapter does not predict better than the base model',
  diverged: 'training left all bounds',
  network: 'a download failed on its way',
  checksum: 'what arrived is not what was announced',
  engine: 'the native libraries are missing, or are another build',
  'process-died': 'a process that worked for this one has ended',
  locked: 'the vault asks for its passphrase',
  'wrong-passphrase': 'the passphrase does not open the vault',
  'vault-damaged': 'a part of the vault is missing or was changed',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof errorCodes;

export interface Fault {
  code: ErrorCode;
  /** What is wrong, as found: "the file ends after 1,024 bytes". */
  found: string;
  /** What would have been right: "at least 98,362,432 bytes". */
  expected?: string;
  /** File, line, tensor, option. */
  where?: string;
  /** What the user can do about it, as an imperative sentence without the full stop. */
  fix?: string;
  /** Names among which a program can let the user choose; not part of the message. */
  choices?: string[];
}

/** The parts of a fault in one clause, to stand in a longer sentence: it ends without a full stop, as each part does. */
function clause({ found, expected, where, fix }: Fault): string {
  const head = expected === undefined ? found : `${found}, expected ${expected}`;
  const place = where === undefined ? head : `${where}: ${head}`;
  return fix === undefined ? place : `${place}; ${fix}`;
}

/** Ends a clause with one full stop, and whole sentences from elsewhere with the one that they have. */
export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** A stated failure: exit code 1, shown without a stack trace. */
export class LoamError extends Error {
  override readonly name: string = 'LoamError';
  readonly exitCode: number = 1;
  readonly fault: Fault;
  readonly code: ErrorCode;
  constructor(fault: Fault, options?: ErrorOptions) {
    super(sentence(clause(fault)), options);
    this.fault = fault;
    this.code = fault.code;
  }

  /** The message as a part of a longer sentence, without a full stop. */
  get clause(): string {
    return clause(this.fault);
  }
}

/** An error as a part of a longer sentence. */
export function clauseOf(error: unknown): string {
  if (error instanceof LoamError) return error.clause;
  return (error instanceof Error ? error.message : String(error)).replace(/[.!?]+$/, '');
}

/** The same fault with a path that the user has never seen under a name that they know. */
export function underName(error: unknown, path: string, name: string): unknown {
  if (!(error instanceof LoamError)) return error;
  const fault = Object.fromEntries(
    Object.entries(error.fault).map(([key, text]) => [
      key,
      typeof text === 'string' ? text.replaceAll(path, name) : text,
    ]),
  ) as Fault & Record<string, string>;
  return new LoamError(fault, { cause: error });
}

/** A fault whose class says what kind it is. */
type FaultOfKind = Omit<Fault, 'code'> & Partial<Pick<Fault, 'code'>>;

/** A wrong flag or argument: exit code 2. */
export class UsageError extends LoamError {
  override readonly name = 'UsageError';
  override readonly exitCode = 2;
  constructor(fault: FaultOfKind, options?: ErrorOptions) {
    super({ code: 'usage', ...fault }, options);
  }
}

/** Something Loam knows of but does not do (an architecture, a tensor type). A selector may catch it and try another way. */
export class UnsupportedError extends LoamError {
  override readonly name = 'UnsupportedError';
  constructor(fault: FaultOfKind, options?: ErrorOptions) {
    super({ code: 'unsupported', ...fault }, options);
  }
}

/** Work ended early because its AbortSignal fired: exit code 130. */
export class StoppedError extends LoamError {
  override readonly name = 'StoppedError';
  override readonly exitCode = 130;
  constructor(found = 'stopped by the user') {
    super({ code: 'stopped', found });
  }
}

/** Throws StoppedError when the signal has fired; called between steps of long work. */
export function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new StoppedError();
}

/** Code of the operating system or of Node, such as ENOENT; undefined for a stated failure, whose codes are ours. */
export function systemCode(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return error instanceof LoamError || typeof code !== 'string' ? undefined : code;
}

/**
 * A failure of the system (a file, a socket, a process) that no place has put into words, as a stated one: it is no bug of ours. Any
 * other error comes back as it is.
 */
export function stated(error: unknown): unknown {
  const code = systemCode(error);
  const { syscall, path } = (error ?? {}) as { syscall?: unknown; path?: unknown };
  if (code === undefined || code.startsWith('ERR_') || typeof syscall !== 'string') return error;
  const found = isDiskFull(error) ? 'the disk is full' : `the system failed to ${syscall} (${code})`;
  const where = typeof path === 'string' ? path : undefined;
  return new LoamError({ code: isDiskFull(error) ? 'disk-full' : 'failed', found, where }, { cause: error });
}

/** Whether an error says that the disk, or the user's share of it, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT' || (error instanceof LoamError && error.code === 'disk-full');
}

/** Longer names are cut in messages: a hostile file may carry a 64 kB one. */
const SHOWN_CHARACTERS = 80;

const short: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * Text from a file, quoted for a message. Control, formatting and unassigned characters are escaped, because an error
 * message goes to a terminal, and a name could otherwise move the cursor or recolour the screen.
 */
export function quote(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  const safe = cut.replace(/[\p{C}\p{Zl}\p{Zp}"\\]/gu, (c) => short[c] ?? `\\u{${c.codePointAt(0)!.toString(16)}}`);
  return `"${safe}"`;
}
