import { LoamError, quote } from '../../base/errors.js';
import type { Fields } from '../../base/jsonAccess.js';
import { requireFamily } from '../../families/foreign.js';
import type { ModuleFactors } from '../../model/factors.js';
import { type Hyperparameters, linearShape } from '../../model/hyperparameters.js';
import { provenModel, type ResolvedModel } from '../../models/listModels.js';
import { modelHash } from '../lab.js';
import { linearName } from '../ridge/walk.js';
import type { ActivationsHeader } from './header.js';
import type { ActivationsFile } from './openActivations.js';

/** The base model that the files of the pipeline name, and whether what is in them fits it. */

/** The base model that a file of the pipeline speaks of. */
export interface ModelReference {
  /** What `--model` takes: a catalogue's name, or a path. */
  source: string;
  /** Of the model's file, hex. */
  sha256: string;
  architecture: string;
  /** As the model calls itself. */
  name: string;
}

export function readModelReference(fields: Fields): ModelReference {
  return {
    source: fields.text('source'),
    sha256: fields.text('sha256'),
    architecture: fields.text('architecture'),
    name: fields.text('name'),
  };
}

/**
 * Finds the base model that a file of the pipeline names (or that the user names instead), and makes sure that it is the one.
 * @param named what the file says; without a sha256 any model is taken
 * @throws LoamError if the model is another one
 */
export async function resolveBase(
  chosen: string | undefined,
  named: { source?: string | undefined; sha256?: string | undefined },
  where: string,
  telling: Omit<Parameters<typeof modelHash>[0], 'source'>,
): Promise<ResolvedModel & { sha256: string }> {
  const source = chosen ?? named.source;
  if (source === undefined) {
    throw new LoamError({ code: 'usage', found: 'no base model is named here', where, fix: 'name it with --model' });
  }
  const found = await provenModel(source, telling);
  const sha256 = await modelHash({ ...telling, source: found });
  if (named.sha256 !== undefined && named.sha256 !== sha256) {
    throw new LoamError({
      code: 'mismatch',
      found: `it was made with another model file than ${found.path}`,
      expected: `the one whose sha256 begins with ${quote(named.sha256.slice(0, 12))}`,
      where,
      fix: 'name that one with --model, or begin again with `loam embed`',
    });
  }
  return { ...found, sha256 };
}

/** @throws UnsupportedError for a model whose layers our own graph does not compute */
export function requireSteps({ family }: Pick<Hyperparameters, 'family'>, where: string): void {
  requireFamily(family, 'the steps of the pipeline', { where });
}

/**
 * Holds a file of activations against the model that is to read its tokens: native code looks tokens up without a check of its own.
 * @throws LoamError
 */
export function requireTokens({ path, header, examples }: ActivationsFile, hyper: Hyperparameters): void {
  requireSteps(hyper, path);
  const fail = (found: string, expected: string): never => {
    throw new LoamError({
      code: 'mismatch',
      found,
      expected,
      where: path,
      fix: 'make the file again with `loam embed`',
    });
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

/** @throws LoamError for corrections that are not applied to the student on its walk: of other linears, or of other shapes */
export function requireCorrectable(
  given: readonly ModuleFactors[],
  { linears, firstLayer }: ActivationsHeader,
  hyper: Hyperparameters,
  folder: string,
): void {
  for (const correction of given) {
    const { layer, module, factors } = correction;
    const where = `${folder}, ${linearName(correction)}`;
    if (!linears.some((linear) => linearName(linear) === linearName(correction))) {
      throw new LoamError({
        code: 'mismatch',
        found: 'a correction of this linear',
        expected: `of attn_output and ffn_down in layers ${firstLayer} and above only, as the activations are`,
        where,
        fix: 'use `loam pack` alone for others',
      });
    }
    const [inputs, outputs] = linearShape(hyper, module, layer);
    if (factors.inputs === inputs && factors.outputs === outputs) continue;
    throw new LoamError({
      code: 'mismatch',
      found: `a is [${factors.rank}, ${factors.inputs}] and b [${factors.outputs}, ${factors.rank}]`,
      expected: `[rank, ${inputs}] and [${outputs}, rank]`,
      where,
    });
  }
}
