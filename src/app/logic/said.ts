import type { ProblemKind } from '../../examples/example.js';
import type { ApiErrorCode } from '../../serve/contract/errors.js';
import type { Job, JobCause } from '../../serve/contract/jobs.js';
import { inWords } from './columns.js';
import { language, t } from './language.js';
import { capital } from './words.js';

/**
 * What the server says, in the reader's language: by its codes, never by its sentences, which are English and more exact. Who reads
 * English gets those; others get words for the code, with the sentence behind them.
 */

/** A text of the page, and the server's own sentence where that is another one. */
export interface Said {
  text: string;
  /** English. */
  detail?: string;
}

const faults = (): Readonly<Partial<Record<ApiErrorCode, string>>> => ({
  invalid: t('Something that was entered does not fit.'),
  stopping: t('Loam is being stopped.'),
  unsupported: t('Loam cannot do this.'),
  forbidden: t('Whoever has it does not give it out.'),
  'not-found': t('It is no longer there.'),
  'name-taken': t('Something of this name is there already.'),
  busy: t('Something else is still under way. Try again when it has ended.'),
  conflict: t('This is not possible now: it has changed in the meantime, or something depends on it.'),
  changed: t('It has changed in the meantime. Look at it, and try again.'),
  confirm: t('It has changed in the meantime. Undo the change, or start over.'),
  unreadable: t('The system does not let Loam read the file.'),
  unwritable: t('The system does not let Loam write here.'),
  'disk-full': t('The disk is full. Make room, and try again.'),
  'out-of-memory': t('There is not enough free memory. Close other apps, adapt fewer layers, or take a smaller model.'),
  damaged: t('The file is damaged or not whole.'),
  'wrong-format': t('The file is of another kind than Loam reads here.'),
  'invalid-data': t('The examples cannot be used as they are.'),
  'speaker-unknown': t('It is not clear who of this chat you are.'),
  'no-examples': t('There is nothing in it that can be learnt.'),
  'too-large': t('It is too large.'),
  'too-long': t('The text is longer than the model can read.'),
  mismatch: t('It belongs to another model.'),
  template: t('The chat template of the model refused it.'),
  'no-gain': t('It did not get better than the base model. Try more examples.'),
  diverged: t('Learning got out of hand. Try smaller steps.'),
  network: t('The network failed on the way. Try again: what has arrived is kept.'),
  checksum: t('What arrived is not what was promised. Try again.'),
  engine: t('A part of Loam is missing or does not fit. Install Loam again.'),
  'process-died': t('The system ended the program that did this, perhaps because memory ran out.'),
  locked: t('Loam is locked. Unlock it with your passphrase.'),
  'wrong-passphrase': t('That is not the passphrase.'),
  'vault-damaged': t('A part of what Loam keeps is missing or damaged. A backup helps.'),
  unauthorized: t('This browser is not let in.'),
  bug: t('Something went wrong inside Loam, which is a fault of Loam.'),
});

/** An error that the page itself words has no code. */
export function sayFault({ message, code }: { message: string; code?: string }): Said {
  if (language() === 'en' || code === undefined) return { text: message };
  const known = faults();
  const text = Object.hasOwn(known, code) ? known[code as ApiErrorCode] : undefined;
  return { text: text ?? t('That did not work.'), detail: message };
}

const problems = (): Readonly<Record<ProblemKind, string>> => ({
  syntax: t('it cannot be read'),
  'not-a-record': t('it is no record with fields'),
  'missing-field': t('a field is missing'),
  'wrong-type': t('a field holds a thing of the wrong kind'),
  empty: t('the question or the answer is empty'),
  'too-long': t('it is too long'),
  encoding: t('it holds characters that are no text'),
  role: t('it is not clear who says it'),
  order: t('its messages stand in an order that cannot be learnt'),
  columns: t('the row has more or fewer cells than the table has columns'),
  template: t('the chat template of the model refuses it'),
  unwanted: t('it is marked as one that is not to be learnt'),
  duplicate: t('it repeats an earlier one'),
  conflict: t('the same question has another answer elsewhere'),
  converted: t('a value was taken as text'),
  'damaged-text': t('its text looks damaged'),
  joined: t('several messages of one person were joined'),
  'unlearnt-end': t('what follows the last answer is not learnt'),
  unlearnt: t('a part of it is not learnt'),
  'loose-quotes': t('a quotation mark stands in an odd place'),
  'unread-list': t('another list in the file is not read'),
  unused: t('some fields are not used'),
});

/** What is wrong with a record, or remarkable. */
export function sayProblem({ kind, reason }: { kind: ProblemKind; reason: string }): Said {
  const detail = inWords(reason);
  if (language() === 'en') return { text: detail };
  return { text: problems()[kind] ?? t('it cannot be used'), detail };
}

const causes = (): Readonly<Record<JobCause, string>> => ({
  whileCharging: t('It waits until the device is charging, and goes on by itself.'),
  minBattery: t('It waits until the battery is fuller, and goes on by itself.'),
  maxCelsius: t('It waits until the device is cooler, and goes on by itself.'),
  hours: t('It waits for the hours in which it may learn, and goes on by itself.'),
  idle: t('It waits until nobody uses the device, and goes on by itself.'),
  minMemory: t('It waits until more memory is free, and goes on by itself.'),
  onDemand: t('It waits until you start it.'),
  'disk-full': t('The disk is full: it goes on by itself when there is room.'),
  busy: t('An earlier run is still ending: it goes on by itself after that.'),
  died: t('The system ended this run, perhaps because memory ran out.'),
  hopeless: t('The system ended this run several times. Fewer layers or a smaller model take less memory.'),
  server: t('Loam was stopped while it learnt.'),
  deleted: t('What it learns from was deleted.'),
});

/** How a run came to be in its state: nothing where its state says it all. */
export function sayState({ message = '', causes: why = [] }: Pick<Job, 'message' | 'causes'>): Said | undefined {
  if (language() === 'en') return message === '' ? undefined : { text: capital(message) };
  if (why.length === 0) return undefined;
  return { text: why.map((one) => causes()[one]).join(' '), detail: message };
}
