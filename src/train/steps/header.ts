import { LoamError, UnsupportedError } from '../../base/errors.js';
import { Fields } from '../../base/jsonAccess.js';
import { type NamedArrayToWrite, ndArray } from '../../formats/arrays.js';
import { type AnyPart, groupExamples, type Part, type RidgeExample } from '../ridge/examples.js';
import { correctedLinears } from '../ridge/walk.js';
import { readModelReference } from './base.js';

/** What `format` says in the header of a file of activations. */
const activationsFormat = 'loam activations';
/** Raised when the meaning of an array or a field changes. */
const activationsVersion = 1;

/** Bounds as in `model/hyperparameters.ts`: beyond them a file is damaged or hostile. */
const limits = { layers: 1024, width: 1 << 17 } as const;

/** Twice `--shots` at most, of two prefixes. */
const maxShots = 1024;

/** The array `header` of a file of activations: JSON as UTF-8 bytes. */
export type ActivationsHeader = ReturnType<typeof readFields>;
/** A linear whose rows are in the file. */
export type EmbeddedLinear = ActivationsHeader['linears'][number];

/** The header as bytes, for an array of u8. */
export function encodeHeader(header: ActivationsHeader): Uint8Array {
  const { kind, ...rest } = header;
  return new TextEncoder().encode(
    `${JSON.stringify({ format: activationsFormat, version: activationsVersion, kind, ...rest }, null, 1)}\n`,
  );
}

/** @throws LoamError for what is no header, UnsupportedError for one of another version */
export function decodeHeader(bytes: Uint8Array, where: string): ActivationsHeader {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new LoamError({ code: 'damaged', found: 'a header that is not UTF-8', where }, { cause });
  }
  const fields = Fields.parse(text, where);
  fields.oneOf('format', [activationsFormat]);
  const version = fields.number('version');
  if (version !== activationsVersion) {
    throw new UnsupportedError({
      found: `version ${version} of the format`,
      expected: `version ${activationsVersion}`,
      where,
      fix: 'make it again with this version of `loam embed`',
    });
  }
  const header = readFields(fields);
  checkOrder(header, where);
  return header;
}

function readFields(fields: Fields) {
  const kind = fields.oneOf('kind', ['bare', 'step']);
  const layers = fields.whole('layers', 1, limits.layers);
  const firstLayer = fields.whole('firstLayer', 0, layers - 1);
  const rows = fields.object('rows');
  const sources = fields.object('sources');
  const optional = (key: string) => (sources.has(key) ? sources.text(key) : null);
  const nll = fields.object('nll').object('teacher');
  const teacher: Partial<Record<Part, number>> = {};
  for (const part of ['train', 'validation', 'heldout'] as const) if (nll.has(part)) teacher[part] = nll.number(part);
  return {
    /** `bare`: of the student without corrections, every linear. `step`: of one linear, with the corrections found before it. */
    kind,
    /** Version of Loam. */
    loam: fields.text('loam'),
    model: readModelReference(fields.object('model')),
    layers,
    embedding: fields.whole('embedding', 1, limits.width),
    /** First layer that is corrected. */
    firstLayer,
    /** In the order in which they are solved. */
    linears: fields.objects('linears', correctedLinears.length * layers).map((entry) => ({
      layer: entry.whole('layer', firstLayer, layers - 1),
      module: entry.oneOf('module', correctedLinears),
      /** Width of its inputs. */
      inputs: entry.whole('inputs', 1, limits.width),
      /** A norm or a factor stands between it and the residual stream: then what is to be solved is in `target` and `weights`. */
      normed: entry.flag('normed'),
    })),
    /** Element type of the activations. */
    dtype: fields.oneOf('dtype', ['f32', 'f16']),
    /** The student's arrays are left out. */
    teacherOnly: fields.flag('teacherOnly'),
    rows: {
      train: rows.whole('train', 0, Number.MAX_SAFE_INTEGER),
      validation: rows.whole('validation', 0, Number.MAX_SAFE_INTEGER),
    },
    /** Records of the user's file that each prefix consists of. */
    shots: fields.lists('shots', maxShots),
    /** sha256 of what it was made from, hex. */
    sources: { data: sources.text('data'), heldout: optional('heldout'), teacher: optional('teacher') },
    /** The options that decide what is in the file. */
    settings: fields.object('settings').all(),
    /** Mean NLL, nats per token, by Loam's own graph; absent for a part without examples. */
    nll: { teacher },
    /** Of a step: `factorsFingerprint` of the corrections that are applied to the student. */
    given: kind === 'step' ? fields.text('given') : undefined,
  };
}

function checkOrder({ kind, layers, firstLayer, linears }: ActivationsHeader, where: string): void {
  const all = linearsInOrder(firstLayer, layers);
  const right =
    kind === 'step'
      ? linears.length === 1
      : linears.length === all.length && all.every(([l, m], i) => linears[i]!.layer === l && linears[i]!.module === m);
  if (right) return;
  throw new LoamError({
    code: 'damaged',
    found: `"linears" lists ${linears.length} linears`,
    expected: kind === 'step' ? 'one' : `the ${all.length} of layers ${firstLayer} to ${layers - 1}, in order`,
    where,
  });
}

/** Layer and module of every corrected linear, in the order in which they are solved. */
export function linearsInOrder(firstLayer: number, layers: number): [number, (typeof correctedLinears)[number]][] {
  const order: [number, (typeof correctedLinears)[number]][] = [];
  for (let layer = firstLayer; layer < layers; layer++)
    for (const module of correctedLinears) order.push([layer, module]);
  return order;
}

/** Bytes of the activations that a header announces. */
export function activationBytes({ linears, embedding, dtype, teacherOnly, rows }: ActivationsHeader): number {
  const widths = linears.reduce(
    (sum, { inputs, normed }) => sum + embedding + (teacherOnly ? 0 : inputs + (normed ? 2 : 1) * embedding),
    0,
  );
  return (rows.train + rows.validation) * widths * (dtype === 'f16' ? 2 : 4);
}

/** The student's batches: how many rows each has, where they begin, and of which part they are. */
export function batchesOf(examples: readonly RidgeExample[]): { rows: number; from: number; part: AnyPart }[] {
  let from = 0;
  return groupExamples(examples).student.map(({ members }) => {
    const rows = members.reduce((sum, member) => sum + examples[member]!.targets.length, 0);
    const batch = { rows, from, part: examples[members[0]!]!.part };
    from += rows;
    return batch;
  });
}

/** Parts as the array `split` numbers them. */
export const splitParts = ['train', 'validation'] as const;

/**
 * The arrays that tell what the rows of activations are, of examples that the student walks:
 *
 * - `tokens` i32, all sequences one after another, and `offsets` i64 [sequences + 1], where each begins;
 * - `example` i32, `split` u8 and `prefix` i32 [sequences]: the record of the user's file, 0 training or 1 validation, and which shots
 *   the teacher has before it (-1: none);
 * - `row_sequence`, `row_position` and `row_target` i32 [rows]: which sequence a row is of, the position whose activations it holds,
 *   and the token to be predicted there. Rows lie in the order in which batches are walked.
 *
 * @param records number of each example's record in the user's file
 */
export function indexArrays(examples: readonly RidgeExample[], records: readonly number[]): NamedArrayToWrite[] {
  const offsets = new BigInt64Array(examples.length + 1);
  for (const [i, { student }] of examples.entries()) offsets[i + 1] = offsets[i]! + BigInt(student.tokens.length);
  const tokens = new Int32Array(Number(offsets.at(-1)));
  for (const [i, { student }] of examples.entries()) tokens.set(student.tokens, Number(offsets[i]));
  const { sequence, position, target } = rowOrder(examples);
  const arrays = {
    tokens,
    offsets,
    example: Int32Array.from(records),
    split: Uint8Array.from(examples, ({ part }) => (splitParts as readonly string[]).indexOf(part)),
    prefix: Int32Array.from(examples, ({ prefix }) => prefix),
    row_sequence: sequence,
    row_position: position,
    row_target: target,
  };
  return Object.entries(arrays).map(([name, values]) => ({ name, ...ndArray(values) }));
}

/** The rows in the order in which the student's batches hold them. */
export function rowOrder(examples: readonly RidgeExample[]) {
  const rows: [number, number, number][] = [];
  for (const { members } of groupExamples(examples).student) {
    for (const member of members) {
      const { student, targets } = examples[member]!;
      student.positions.forEach((at, i) => {
        rows.push([member, at, targets[i]!]);
      });
    }
  }
  const column = (i: 0 | 1 | 2) => Int32Array.from(rows, (row) => row[i]);
  return { sequence: column(0), position: column(1), target: column(2) };
}
