import { fitSubject, writeSubject } from '../adapters/subject.js';
import { LoamError, StoppedError } from '../base/errors.js';
import { Kept } from '../llama/Kept.js';
import { beginningsOf } from '../llama/reading.js';
import type { Session } from '../llama/Session.js';
import type { OpenedRun } from './lab.js';
import { readReplay } from './replaySet.js';

/**
 * What the questions of these examples are about, as a note for the adapter; undefined for plain texts, which answer nothing, after the
 * deadline (of `performance.now`), and where it cannot be told: the adapter is worth keeping without it.
 * @param session of the base model, whose file has this sha256
 */
export async function subjectOf(
  { data, emit, signal }: Pick<OpenedRun, 'data' | 'emit' | 'signal'>,
  session: Session,
  { sha256, deadline }: { sha256: string; deadline: number },
): Promise<string | undefined> {
  const { questions } = data;
  if (questions.length === 0 || performance.now() > deadline) return undefined;
  try {
    session.wear(undefined);
    const own = await session.embed(beginningsOf(session.vocabulary, questions), { signal });
    return own.length > 0 ? writeSubject(fitSubject(own, await generalOnes(session, sha256, signal))) : undefined;
  } catch (error) {
    if (!(error instanceof LoamError) || error instanceof StoppedError) throw error;
    emit({ type: 'warning', message: `what its questions are about is not known: ${error.clause}` });
    return undefined;
  }
}

/** So many of the bundled questions are embedded: more would cost every model their reading, and change little. */
const compared = 104;

/** Embeddings of bundled questions, which are computed once for a base model. */
async function generalOnes(session: Session, sha256: string, signal: AbortSignal): Promise<Float32Array[]> {
  const { width } = session;
  const questions = (await readReplay()).slice(0, compared).map(({ question }) => question);
  const list = beginningsOf(session.vocabulary, questions);
  const kept = new Kept(sha256, 'embeddings, read together', list);
  const size = 4 * width * list.length;
  const bytes = await kept.read(size);
  if (bytes?.length === size) {
    const all = new Float32Array(Uint8Array.from(bytes).buffer);
    if (all.every(Number.isFinite)) return list.map((_, i) => all.slice(i * width, (i + 1) * width));
  }
  const vectors = await session.embed(list, { signal });
  await kept.write(Buffer.concat(vectors.map(({ buffer }) => new Uint8Array(buffer))));
  return vectors;
}
