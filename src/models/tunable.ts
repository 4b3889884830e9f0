import { LoamError } from '../base/errors.js';
import { defaultThreads } from '../engine/threads.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { surveyApart } from '../model/slices/surveyApart.js';
import type { TrialOptions } from '../model/trial.js';

/** How a model can be tuned. Any that is here can be asked. */
export interface Tuning {
  /** By forward passes, and by gradients; by forward passes alone, of an architecture that libllama alone computes; not at all. */
  methods: 'ridge and training' | 'ridge' | 'none';
  /** A clause: what of it cannot be corrected, or why it cannot be tuned. */
  why?: string;
}

/**
 * Looks how a model file, which has been proven, can be tuned.
 * @param folder where slices lie until libllama has opened them
 */
export async function tuningOf(path: string, folder: string, options: TrialOptions = {}): Promise<Tuning> {
  const gguf = await readGguf(path);
  const { family, contextLength } = readHyperparameters(gguf);
  if (!family.isForeign) return { methods: 'ridge and training' };
  try {
    const { closed } = await surveyApart(gguf, contextLength, { folder, threads: defaultThreads() }, options);
    const all = [...new Set(closed.map(({ module, why }) => `${module} is left as it is: ${why}`))];
    return { methods: 'ridge', ...(all.length > 0 && { why: all.join('; ') }) };
  } catch (error) {
    // What libllama takes and cannot be read token by token, such as a model with an encoder, is not tuned either.
    if (!(error instanceof LoamError) || !['unsupported', 'failed'].includes(error.code)) throw error;
    return { methods: 'none', why: error.fault.found };
  }
}
