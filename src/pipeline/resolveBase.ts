import { type ResolvedModel, resolveModel } from '../catalog/resolveModel.js';
import type { TuneEvent } from '../tune/events.js';
import { hashWithProgress } from '../tune/hashWithProgress.js';
import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';

/**
 * Finds the base model that a file of the pipeline names (or that the user names instead), and makes sure that it is the one.
 * @param named what the file says; without a sha256 any model is taken
 * @throws LoamError where the model is another one
 */
export async function resolveBase(
  chosen: string | undefined,
  named: { source?: string | undefined; sha256?: string | undefined },
  where: string,
  emit: (event: Extract<TuneEvent, { type: 'progress' }>) => void,
  signal: AbortSignal,
): Promise<ResolvedModel & { sha256: string }> {
  const source = chosen ?? named.source;
  if (source === undefined) {
    throw new LoamError({ found: 'no base model is named here', where, fix: 'name it with --model' });
  }
  const found = await resolveModel(source);
  const sha256 = found.sha256 ?? (await hashWithProgress(found.path, emit, signal));
  if (named.sha256 !== undefined && named.sha256 !== sha256) {
    throw new LoamError({
      found: `it was made with another model file than ${found.path}`,
      expected: `the one whose sha256 begins with ${quote(named.sha256.slice(0, 12))}`,
      where,
      fix: 'name that one with --model, or begin again with `loam embed`',
    });
  }
  return { ...found, sha256 };
}
