import { type Hyperparameters, linearShape } from '../model/hyperparameters.js';
import type { ModuleFactors } from '../model/lora.js';
import { LoamError } from '../util/errors.js';
import type { ActivationsHeader } from './header.js';
import type { ActivationsFile } from './openActivations.js';

/**
 * Holds a file of activations against the model that is to read its tokens: native code looks tokens up without a check of its own.
 * @throws LoamError
 */
export function requireTokens({ path, header, examples }: ActivationsFile, hyper: Hyperparameters): void {
  const fail = (found: string, expected: string): never => {
    throw new LoamError({ found, expected, where: path, fix: 'make the file again with `loam embed`' });
  };
  if (header.layers !== hyper.layers || header.embedding !== hyper.embedding) {
    fail(
      `activations of ${header.layers} layers of width ${header.embedding}`,
      `${hyper.layers} of ${hyper.embedding}, as the model has`,
    );
  }
  for (const [i, { student }] of examples.entries()) {
    if (student.tokens.length > hyper.contextLength) {
      fail(`sequence ${i} has ${student.tokens.length} tokens`, `at most ${hyper.contextLength}`);
    }
    for (const token of student.tokens) {
      if (token < 0 || token >= hyper.vocabulary) fail(`token ${token}`, `one of ${hyper.vocabulary}`);
    }
  }
}

/** @throws LoamError for corrections that the student does not wear while it is walked: of other linears, or of other shapes */
export function requireCorrectable(
  given: readonly ModuleFactors[],
  { linears, firstLayer }: ActivationsHeader,
  hyper: Hyperparameters,
  folder: string,
): void {
  for (const { layer, module, factors } of given) {
    const where = `${folder}, blk.${layer}.${module}`;
    if (!linears.some((linear) => linear.layer === layer && linear.module === module)) {
      throw new LoamError({
        found: 'a correction of this linear',
        expected: `of attn_output and ffn_down in layers ${firstLayer} and above only, as the activations are`,
        where,
        fix: 'use `loam pack` alone for others',
      });
    }
    const [inputs, outputs] = linearShape(hyper, module);
    if (factors.inputs === inputs && factors.outputs === outputs) continue;
    throw new LoamError({
      found: `a is [${factors.rank}, ${factors.inputs}] and b [${factors.outputs}, ${factors.rank}]`,
      expected: `[rank, ${inputs}] and [${outputs}, rank]`,
      where,
    });
  }
}
