import { fitSubject, writeSubject } from '../adapters/subject.js';
import { LoamError, StoppedError } from '../base/errors.js';
import { embedQuestions } from '../llama/reading.js';
import { Session } from '../llama/Session.js';
import type { OpenedRun } from './lab.js';
import { readReplay } from './replaySet.js';

/**
 * What the questions of these examples are about, as a note for the adapter; undefined for plain texts, which answer nothing, after the
 * deadline (of `performance.now`), and where it cannot be told: the adapter is worth keeping without it.
 */
export async function subjectOf(
  { source, data, emit, signal }: OpenedRun,
  { threads, deadline }: { threads: number; deadline: number },
): Promise<string | undefined> {
  const own = data.questions;
  if (own.length === 0 || performance.now() > deadline) return undefined;
  const others = (await readReplay()).map(({ question }) => question);
  try {
    using session = await Session.open(source.path, { contextLength: 128, threads, inPlace: true });
    const vectors = await embedQuestions(session, [...own, ...others], signal);
    return writeSubject(fitSubject(vectors.slice(0, own.length), vectors.slice(own.length)));
  } catch (error) {
    if (!(error instanceof LoamError) || error instanceof StoppedError) throw error;
    emit({ type: 'warning', message: `what its questions are about is not known: ${error.clause}` });
    return undefined;
  }
}
