import { LoamError, quote } from '../../base/errors.js';
import { listFirst } from '../../base/format.js';
import { type Dtype, type NamedArrayToWrite, ndArray, toFloat32, toFloat64 } from '../../formats/arrays.js';
import { type NpzFile, openNpz } from '../../formats/npz.js';
import type { RidgeExample } from '../ridge/examples.js';
import type { LinearToSolve } from '../ridge/solver.js';
import type { Residuals } from '../ridge/target.js';
import { linearName } from '../ridge/walk.js';
import {
  type ActivationsHeader,
  batchesOf,
  decodeHeader,
  type EmbeddedLinear,
  rowOrder,
  splitParts,
} from './header.js';
import { activationArray, type Recording } from './recording.js';

/** Longest header read: that of 1,024 layers with 512 shots takes a tenth. */
const maxHeaderBytes = 1 << 20;
/** A row's place in a list must fit what typed arrays count. */
const maxTokens = 2 ** 31 - 1;

/** Which activations of a linear. */
type ActivationKind = 'inputs' | 'teacher' | 'student' | 'target' | 'weights';

/** Name of an array of activations, after the weight's own name in GGUF files. */
function arrayName(linear: { layer: number; module: string }, kind: ActivationKind): string {
  return `${linearName(linear)}.${kind}`;
}

/** A file that `loam embed` wrote, open and checked. `await using file = await openActivations(path)`. */
export class ActivationsFile implements AsyncDisposable {
  readonly batches: ReturnType<typeof batchesOf>;

  /** Use `openActivations`. */
  constructor(
    readonly path: string,
    readonly header: ActivationsHeader,
    /** As the student reads them; the teacher's side is what it left in the arrays. */
    readonly examples: readonly RidgeExample[],
    /** Number of each example's record in the user's file. */
    readonly records: readonly number[],
    private readonly file: NpzFile,
  ) {
    this.batches = batchesOf(examples);
  }

  /** Activations of one linear, batch by batch. */
  rows(linear: Pick<EmbeddedLinear, 'layer' | 'module'>, kind: ActivationKind): Residuals {
    const name = arrayName(linear, kind);
    return {
      read: async (index) => {
        const { from, rows } = this.batches[index]!;
        const values = toFloat32(await this.file.readRows(name, from, rows));
        if (values.every(Number.isFinite)) return values;
        throw new LoamError({
          code: 'damaged',
          found: `${quote(name)} holds values that are not finite`,
          where: this.path,
        });
      },
    };
  }

  /** What the outputs of a linear with a norm behind it are divided by once they are solved. */
  async weights(linear: EmbeddedLinear): Promise<Float32Array | undefined> {
    if (!linear.normed) return undefined;
    const name = arrayName(linear, 'weights');
    const values = toFloat32(await this.file.read(name));
    if (values.every((value) => Number.isFinite(value) && value !== 0)) return values;
    throw new LoamError({
      code: 'damaged',
      found: `${quote(name)} holds values that cannot be divided by`,
      where: this.path,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/**
 * Opens a file of activations: the header, the index arrays against one another, and the shapes of all activations.
 * @throws LoamError, listing every array that is not as the header says
 */
export async function openActivations(path: string): Promise<ActivationsFile> {
  const file = await openNpz(path);
  try {
    const info = file.arrays.get('header');
    if (info?.dtype !== 'u8' || info.shape.length !== 1 || info.bytes > maxHeaderBytes) {
      throw new LoamError({
        code: 'wrong-format',
        found: info ? 'its array "header" is of another kind' : 'there is no array "header" in it',
        expected: 'a file that `loam embed` wrote',
        where: path,
      });
    }
    const header = decodeHeader((await file.read('header')).data, `${path}, "header"`);
    const { examples, records } = await readExamples(file, path);
    checkArrays(file, header, examples, path);
    return new ActivationsFile(path, header, examples, records, file);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

async function readExamples(file: NpzFile, path: string): Promise<{ examples: RidgeExample[]; records: number[] }> {
  const read = async (name: string, dtype: Dtype): Promise<Float64Array> => {
    const info = file.arrays.get(name);
    if (!info || info.dtype !== dtype || info.shape.length !== 1 || info.shape[0]! > maxTokens) {
      throw new LoamError({
        code: 'damaged',
        found: info ? `${quote(name)} is ${info.dtype} [${info.shape.join(', ')}]` : `there is no ${quote(name)}`,
        expected: `an array of ${dtype} of one dimension`,
        where: path,
      });
    }
    return toFloat64(await file.read(name));
  };
  const fail = (found: string): never => {
    throw new LoamError({ code: 'damaged', found, expected: 'index arrays as `loam embed` wrote them', where: path });
  };
  const [tokens, offsets] = [await read('tokens', 'i32'), await read('offsets', 'i64')];
  const [example, split, prefix] = [
    await read('example', 'i32'),
    await read('split', 'u8'),
    await read('prefix', 'i32'),
  ];
  const [sequence, position, target] = [
    await read('row_sequence', 'i32'),
    await read('row_position', 'i32'),
    await read('row_target', 'i32'),
  ];
  const n = example.length;
  if (offsets.length !== n + 1 || split.length !== n || prefix.length !== n) {
    fail('"offsets", "example", "split" and "prefix" speak of different numbers of sequences');
  }
  if (position.length !== sequence.length || target.length !== sequence.length) {
    fail('"row_sequence", "row_position" and "row_target" have different lengths');
  }
  if (offsets[0] !== 0 || offsets[n] !== tokens.length) fail('"offsets" does not span "tokens"');
  const positions = Array.from({ length: n }, () => [] as number[]);
  const targets = Array.from({ length: n }, () => [] as number[]);
  sequence.forEach((s, row) => {
    if (s < 0 || s >= n) fail(`row ${row} is of sequence ${s}, of ${n}`);
    positions[s]!.push(position[row]!);
    targets[s]!.push(target[row]!);
  });
  const examples = Array.from({ length: n }, (_, i): RidgeExample => {
    const [from, to] = [offsets[i]!, offsets[i + 1]!];
    if (to <= from) fail(`sequence ${i} has no tokens`);
    const part = splitParts[split[i]!] ?? fail(`"split" of sequence ${i} is ${split[i]}, expected 0 or 1`);
    const student = { tokens: Int32Array.from(tokens.subarray(from, to)), positions: Int32Array.from(positions[i]!) };
    student.positions.forEach((at, k) => {
      // The token to be predicted is the next one.
      if (at < 0 || student.tokens[at + 1] !== targets[i]![k]) fail(`a row of sequence ${i} is of position ${at}`);
    });
    if (prefix[i]! < -1) fail(`"prefix" of sequence ${i} is ${prefix[i]}`);
    return { part, prefix: prefix[i]!, student, teacher: student, targets: Int32Array.from(targets[i]!) };
  });
  const order = rowOrder(examples);
  const same = order.sequence.every((s, row) => s === sequence[row] && order.position[row] === position[row]);
  if (!same || order.sequence.length !== sequence.length)
    fail('its rows lie in another order than batches are walked in');
  return { examples, records: [...example] };
}

function checkArrays(file: NpzFile, header: ActivationsHeader, examples: readonly RidgeExample[], path: string): void {
  const count = (part: RidgeExample['part']) =>
    examples.reduce((sum, example) => sum + (example.part === part ? example.targets.length : 0), 0);
  const rows = { train: count('train'), validation: count('validation') };
  const problems: string[] = [];
  for (const part of splitParts) {
    if (rows[part] !== header.rows[part])
      problems.push(`${rows[part]} ${part} rows, ${header.rows[part]} in the header`);
  }
  for (const linear of header.linears) {
    const expect = (kind: ActivationKind, width: number) => {
      const name = arrayName(linear, kind);
      const info = file.arrays.get(name);
      const wanted = `${header.dtype} [${rows.train + rows.validation}, ${width}]`;
      const found = info && `${info.dtype} [${info.shape.join(', ')}]`;
      if (found === undefined) problems.push(`${name} is missing`);
      else if (found !== wanted) problems.push(`${name} is ${found}, expected ${wanted}`);
    };
    expect('teacher', header.embedding);
    if (header.teacherOnly) continue;
    expect('inputs', linear.inputs);
    expect('student', header.embedding);
    if (!linear.normed) continue;
    expect('target', header.embedding);
    const weights = file.arrays.get(arrayName(linear, 'weights'));
    if (weights?.dtype !== 'f32' || weights.shape.join() !== `${header.embedding}`) {
      problems.push(`${arrayName(linear, 'weights')} is no f32 [${header.embedding}]`);
    }
  }
  if (problems.length === 0) return;
  throw new LoamError({
    code: 'damaged',
    found: `arrays that do not fit its header: ${listFirst(problems)}`,
    where: path,
    fix: 'make the file again with `loam embed`',
  });
}

/**
 * The arrays of one linear, as `ActivationsFile` reads them.
 * @param recording of the student; without it only the teacher's array comes out
 * @param rows of each batch
 */
export function* linearArrays(
  { layer, module, inputs, outputs, weights }: LinearToSolve,
  teacher: Residuals,
  recording: Recording | undefined,
  rows: readonly number[],
  dtype: 'f32' | 'f16',
): Generator<NamedArrayToWrite, void, void> {
  const name = (kind: ActivationKind) => arrayName({ layer, module }, kind);
  const array = (kind: ActivationKind, source: Residuals, width: number) =>
    activationArray(name(kind), source, rows, width, dtype);
  if (recording) yield array('inputs', recording.inputs, inputs);
  yield array('teacher', teacher, outputs);
  if (!recording) return;
  yield array('student', recording.student, outputs);
  if (recording.target) yield array('target', recording.target, outputs);
  if (weights) yield { name: name('weights'), ...ndArray(weights) };
}
