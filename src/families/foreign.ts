import { UnsupportedError } from '../base/errors.js';
import type { Family } from './family.js';
import { families } from './index.js';

/**
 * What stands for the family of a model that no file here describes. Nothing is known of its layers, so our own graph computes none of
 * them: libllama alone does, for answers as for ridge.
 * @param variant of an architecture that a file describes: what of the model it does not, as in "a mixture-of-experts model"
 */
export function foreignFamily(name: string, variant?: string): Family {
  const none = { layers: 0, embedding: 0, heads: 0, feedForward: 0, vocabulary: 0, context: 0, tied: false };
  return {
    name,
    title: variant === undefined ? name : `${name}: ${variant}`,
    isForeign: true,
    layer: [],
    block: { rope: 'norm', activation: 'swiglu' },
    huggingFace: { classes: [], modelTypes: [], defaults: none, headLengths: 'never' },
  };
}

/**
 * @param what is done with a model whose layers our own graph computes, as in "training by gradients"
 * @param how.fix what can be done instead
 * @throws UnsupportedError for a model of which that is not known
 */
export function requireFamily(
  { isForeign, title }: Family,
  what: string,
  { where, fix = 'use `loam tune --method ridge`, or another model' }: { where?: string; fix?: string } = {},
): void {
  if (!isForeign) return;
  throw new UnsupportedError({
    found: `a model of the architecture "${title}", whose layers libllama alone computes`,
    expected: `for ${what} a dense model of ${[...families.keys()].join(', ')}`,
    where,
    fix,
  });
}
