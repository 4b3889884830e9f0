import { LoamError } from '../../base/errors.js';
import { logSumExp } from '../likelihood.js';
import type { Session } from '../Session.js';

/** A place in the tree of the endings: the tokens up to it, and what may follow. */
interface Branch {
  tokens: number[];
  /** Log-likelihood of its tokens after the prompt, in nats. */
  likelihood: number;
  /** Endings that go on from here. */
  endings: number[];
}

export interface Likeliest {
  /** Index of the ending. */
  ending: number;
  /** Log-likelihood of all its tokens after the prompt, in nats. */
  likelihood: number;
}

/**
 * The ending of a prompt whose tokens have the greatest likelihood, exactly, though most endings are never read: likelihoods only fall
 * from token to token, so the best unfinished beginning is followed until a finished ending is the best of all (best-first search).
 * @param endings none of them empty, and none the beginning of another
 */
export async function likeliest(
  session: Session,
  prompt: Int32Array,
  endings: readonly Int32Array[],
  signal?: AbortSignal,
): Promise<Likeliest> {
  const open: Branch[] = [{ tokens: [], likelihood: 0, endings: [...endings.keys()] }];
  for (;;) {
    // Of equal ones the one that was found first, so that the result is the same each time.
    const best = open.reduce((most, branch) => (branch.likelihood > most.likelihood ? branch : most));
    const { tokens, likelihood } = best;
    const only = best.endings.length === 1 ? best.endings[0]! : undefined;
    if (only !== undefined && endings[only]!.length === tokens.length) return { ending: only, likelihood };
    open.splice(open.indexOf(best), 1);
    const next = new Map<number, number[]>();
    for (const ending of best.endings) {
      const token = endings[ending]![tokens.length]!;
      next.set(token, [...(next.get(token) ?? []), ending]);
    }
    // What has one ending left is read to its end at once, which takes little more than its next token.
    const rest = only === undefined ? [] : [...endings[only]!.subarray(tokens.length)];
    const read = Int32Array.from([...prompt, ...tokens, ...rest.slice(0, -1)]);
    const first = prompt.length + tokens.length - 1;
    const wanted = Array.from({ length: read.length - first }, (_, i) => first + i);
    let tail = likelihood;
    await session.read(read, wanted, {
      onLogits: (logits, position) => {
        const whole = logSumExp(logits);
        if (only !== undefined) tail += logits[rest[position - first]!]! - whole;
        else {
          for (const [token, left] of next) {
            open.push({ tokens: [...tokens, token], likelihood: likelihood + logits[token]! - whole, endings: left });
          }
        }
      },
      signal,
    });
    if (only !== undefined) open.push({ tokens: [...endings[only]!], likelihood: tail, endings: [only] });
    requireNumbers(open);
  }
}

function requireNumbers(open: readonly Branch[]): void {
  if (!open.some(({ likelihood }) => Number.isNaN(likelihood))) return;
  const fix = 'use another adapter, or fetch the model again';
  throw new LoamError({ code: 'damaged', found: 'the likelihoods of the choices are not numbers', fix });
}
