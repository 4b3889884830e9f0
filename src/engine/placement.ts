import { halfToFloat } from '../base/floats.js';
import type { BufferType, Device, Engine } from './engine.js';
import { allocateForever, fn, functionForever, pointer, size, viewMemory, writePointer } from './ffi.js';
import type { BufferTypeHandle } from './ggmlBindings.js';
import type { Graph } from './graph.js';
import { multipliesRight, sampleShape, wrongProducts } from './knownGood.js';
import { native } from './native.js';
import type { Operations } from './operations.js';
import { Arena, bufferOffset, MappedTensor, standIn, type Tensor, TensorBuffer } from './tensor.js';
import { hasKernel, type TensorType, tensorTypes } from './tensorTypes.js';

/** Where tensors lie: weights in the layout that this machine multiplies fastest, intermediate results at the beginning of cache lines. */

/** Tokens of the product that a placement is chosen for; kernels for batches differ from those for one token. */
const sampleTokens = 512;

/**
 * ggml's AMX kernels take rows of a single block of 32 and give wrong products from 32 tokens on (0.23.0: nothing of the block is
 * summed; placement.test.ts would fail once that is mended).
 */
const amxInputs = 64;

/**
 * The fastest buffer type of `device` that can multiply a weight of this type and shape: each extra type is asked with a made-up
 * product (as llama.cpp's weight_buft_supported does), because each takes only some types and row counts. One whose products are
 * wrong on this processor is passed over. @throws LoamError if those of the plain layout are
 */
export function fastestBufferType(device: Device, type: TensorType, inputs: number, outputs: number): BufferType {
  for (const candidate of device.extra) {
    if (candidate.name === 'AMX' && type.quantised && inputs < amxInputs) continue;
    if (!multiplies(device, candidate, type, inputs, outputs)) continue;
    if (multipliesRight(device, candidate, type)) return candidate;
  }
  if (hasKernel(type) && !multipliesRight(device, device.plain, type)) throw wrongProducts(device, type);
  return device.plain;
}

/**
 * Makes sure that products with weights of these types are right in every layout that the devices have for them, for whoever
 * leaves the choice to libllama. @throws LoamError
 */
export function requireRightProducts(devices: readonly Device[], types: Iterable<TensorType>): void {
  for (const type of types) {
    if (!hasKernel(type)) continue;
    for (const device of devices) {
      const layouts = device.extra.filter((layout) => multiplies(device, layout, type, ...sampleShape));
      const wrong = [device.plain, ...layouts].some((layout) => !multipliesRight(device, layout, type));
      if (wrong) throw wrongProducts(device, type);
    }
  }
}

const known = new Map<string, boolean>();

function multiplies(device: Device, candidate: BufferType, type: TensorType, inputs: number, outputs: number): boolean {
  const key = [device.name, candidate.name, type.name, inputs, outputs].join();
  let answer = known.get(key);
  if (answer === undefined) {
    answer = ask(device, candidate, type, inputs, outputs);
    known.set(key, answer);
  }
  return answer;
}

function ask(device: Device, candidate: BufferType, type: TensorType, inputs: number, outputs: number): boolean {
  const { ggml } = native();
  using arena = new Arena(4);
  const weight = arena.tensor(type.name, [inputs, outputs]);
  const x = arena.tensor('f32', [inputs, sampleTokens]);
  const product = ggml.mulMat(arena.context, weight.handle, x.handle);
  const probe = standIn(candidate.handle);
  if (!probe) return false;
  writePointer(weight.handle + bufferOffset, probe);
  const answer = ggml.deviceSupportsOp(device.handle, product);
  writePointer(weight.handle + bufferOffset, 0n);
  return answer;
}

/** A frozen weight matrix in the layout that this machine multiplies fastest. */
export interface Linear extends Disposable {
  readonly inputs: number;
  readonly outputs: number;
  /** Buffer type the blocks lie in, for `loam doctor` and tests. */
  readonly placement: string;
  /** Of its weights. */
  readonly bytes: number;
  /** x [inputs, n] -> [outputs, n]. */
  apply(ops: Operations, x: Tensor): Tensor;
  /** The same with its weights where `move` puts them; this one is used up. Weights that lie in a mapped file stay there. */
  moved(move: (tensor: Tensor) => Promise<Placed>): Promise<Linear>;
  /** Lets the system drop the pages of weights that lie in a file from memory; they come back when they are used. */
  release(): void;
}

/** Puts a placed weight where it is to lie, and uses up the one given. */
export type Keep = (linear: Linear) => Promise<Linear>;
export const inPlace: Keep = async (linear) => linear;

/** A tensor and what owns its memory. */
export interface Placed {
  tensor: Tensor;
  buffer: Disposable & { release?(): void };
}

/** A weight as it lies. */
export class PlacedLinear implements Linear {
  constructor(
    readonly weight: Tensor,
    readonly placement: string,
    private readonly buffer: Placed['buffer'],
  ) {}
  get inputs(): number {
    return this.weight.ne[0];
  }
  get outputs(): number {
    return this.weight.ne[1];
  }
  get bytes(): number {
    return this.weight.bytes;
  }
  apply(ops: Operations, x: Tensor): Tensor {
    return ops.mulMat(this.weight, x);
  }
  async moved(move: (tensor: Tensor) => Promise<Placed>): Promise<PlacedLinear> {
    if (this.buffer instanceof MappedTensor) return this;
    const { tensor, buffer } = await move(this.weight);
    this[Symbol.dispose]();
    return new PlacedLinear(tensor, this.placement, buffer);
  }
  release(): void {
    this.buffer.release?.();
  }
  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}

const { q4_0, q4_1 } = tensorTypes;
/** Bytes of the 4-bit codes of a block, the same in q4_0 and q4_1. */
const codeBytes = 16;

/**
 * A q4_1 matrix as q4_0 plus an offset per block. q4_1 stores w = d·q + m with q in 0..15, q4_0 stores w = d·(q - 8): the codes and d
 * are the same, and what remains is the constant m + 8d over each block of 32 inputs. So
 *
 *   W·x = W₀·x + C·s,  W₀ the q4_0 part,  C [outputs, inputs/32] = m + 8d,  s [inputs/32] = sums of x over its blocks,
 *
 * exactly. No repacked kernel takes q4_1 on most processors while q4_0 has one, and C costs 1/32 of the multiplications: three to
 * four times the speed of the plain q4_1 kernel. C·s is a sum of outer products: with 18 blocks a third of the time of a product of rows.
 */
class SplitLinear implements Linear {
  constructor(
    private readonly codes: Linear,
    private readonly offsets: PlacedLinear,
  ) {}
  get placement(): string {
    return `${this.codes.placement} + block offsets`;
  }
  get inputs(): number {
    return this.codes.inputs;
  }
  get outputs(): number {
    return this.codes.outputs;
  }
  get bytes(): number {
    return this.codes.bytes + this.offsets.bytes;
  }
  apply(ops: Operations, x: Tensor): Tensor {
    const blocks = this.inputs / q4_1.blockSize;
    const sums = ops.once(x, 'blockSums', () =>
      ops.reshape(ops.sumRows(ops.reshape(x, q4_1.blockSize, blocks * x.rows)), blocks, x.rows),
    );
    return ops.add(this.codes.apply(ops, x), ops.outProd(this.offsets.weight, ops.transpose(sums)));
  }
  async moved(move: (tensor: Tensor) => Promise<Placed>): Promise<Linear> {
    return new SplitLinear(await this.codes.moved(move), await this.offsets.moved(move));
  }
  release(): void {
    for (const part of [this.codes, this.offsets]) part.release();
  }
  [Symbol.dispose](): void {
    for (const part of [this.codes, this.offsets]) part[Symbol.dispose]();
  }
}

/** Separates rows of q4_1 blocks into q4_0 blocks and the f32 offsets m + 8d: those of all rows' first blocks, then of their second ones. */
export function splitQ41(data: Uint8Array, blocksPerRow: number) {
  const blocks = data.byteLength / q4_1.typeSize;
  const codes = new Uint8Array(blocks * q4_0.typeSize);
  const rows = blocks / blocksPerRow;
  const offsets = new Float32Array(blocks);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let block = 0; block < blocks; block++) {
    const from = block * q4_1.typeSize;
    const to = block * q4_0.typeSize;
    const d = halfToFloat(view.getUint16(from, true));
    const m = halfToFloat(view.getUint16(from + 2, true));
    offsets[(block % blocksPerRow) * rows + Math.floor(block / blocksPerRow)] = m + 8 * d;
    codes[to] = data[from]!;
    codes[to + 1] = data[from + 1]!;
    for (let i = 0; i < codeBytes; i++) codes[to + 2 + i] = data[from + 4 + i]!;
  }
  return { codes, offsets };
}

/** Where the bytes of a weight come from. */
export interface WeightSource {
  readonly type: TensorType;
  /** ggml order: [inputs, outputs]. */
  readonly shape: readonly number[];
  /** Address of the bytes in mapped memory, if they are mapped: plain layouts use them in place. */
  readonly address?: bigint;
  /** Reads the bytes; the result is used up before the next `read` of any source of the same file. */
  read(): Promise<Uint8Array>;
}

/** ggml asserts this alignment of tensors in a CPU buffer (ggml-backend.cpp, TENSOR_ALIGNMENT). */
const alignment = 32n;

/**
 * Whether q4_1 is faster split (`SplitLinear`) than turned into q8_0: where q4_0 has a layout of its own and q8_0 has none. With AVX-512
 * and 512 tokens 90 to 113 against 68 billion multiplications a second (bench/products.mjs).
 */
export function splitsFaster({ main }: Engine, [inputs = 1, outputs = 1]: readonly number[]): boolean {
  const hasLayout = (type: TensorType) => fastestBufferType(main, type, inputs, outputs) !== main.plain;
  return hasLayout(q4_0) && !hasLayout(tensorTypes.q8_0);
}

/** A tensor over the source's own memory (a mapped file), or a copy in the plain layout of the main device. */
export async function placePlain(
  engine: Engine,
  source: WeightSource,
): Promise<{ tensor: Tensor; buffer: Disposable }> {
  const { main } = engine;
  if (source.address !== undefined && source.address % alignment === 0n && main.kind === 'cpu') {
    const buffer = new MappedTensor(source.type, source.shape, source.address);
    return { tensor: buffer.tensor, buffer };
  }
  return place(source.type, source.shape, await source.read(), main.plain);
}

async function place(type: TensorType, shape: readonly number[], data: ArrayBufferView, bufferType: BufferType) {
  const buffer = new TensorBuffer(bufferType.handle, 1);
  try {
    const tensor = buffer.tensor(type.name, shape);
    buffer.allocate({ usage: 'weights' });
    await tensor.writeAsync(data);
    return { tensor, buffer };
  } catch (error) {
    buffer[Symbol.dispose]();
    throw error;
  }
}

/** Places a weight matrix in the layout that the main device multiplies fastest. */
export async function placeLinear(engine: Engine, source: WeightSource): Promise<Linear> {
  const { main } = engine;
  const [inputs = 1, outputs = 1] = source.shape;
  const direct = fastestBufferType(main, source.type, inputs, outputs);
  if (direct !== main.plain) {
    const { tensor, buffer } = await place(source.type, source.shape, await source.read(), direct);
    return new PlacedLinear(tensor, direct.name, buffer);
  }
  const splits = source.type === q4_1 && engine.kernels === 'fast';
  const repacked = splits ? fastestBufferType(main, q4_0, inputs, outputs) : main.plain;
  if (repacked !== main.plain) {
    const blocks = inputs / q4_1.blockSize;
    const { codes, offsets } = splitQ41(await source.read(), blocks);
    const first = await place(q4_0, source.shape, codes, repacked);
    const second = await place(tensorTypes.f32, [outputs, blocks], offsets, main.plain);
    return new SplitLinear(
      new PlacedLinear(first.tensor, repacked.name, first.buffer),
      new PlacedLinear(second.tensor, main.plain.name, second.buffer),
    );
  }
  const { tensor, buffer } = await placePlain(engine, source);
  return new PlacedLinear(tensor, direct.name, buffer);
}

/**
 * A computed matrix f32 [inputs, outputs] as an output of its graph, in the type that `placeComputed` takes up: with fast kernels
 * rounded to q8_0, whose products are the fastest, if rows are whole blocks. The error is at most 1/254 of the largest of 32 values.
 */
export function forPlacing(graph: Graph, matrix: Tensor): Tensor {
  const { engine } = graph.workspace;
  const rounds = engine.kernels === 'fast' && matrix.ne[0] % tensorTypes.q8_0.blockSize === 0;
  return graph.output(rounds ? graph.cast(matrix, 'q8_0') : graph.cont(matrix));
}

/** Places a computed matrix [inputs, outputs]; one of a graph (`forPlacing`) before the next graph begins. */
export async function placeComputed(engine: Engine, matrix: Tensor): Promise<Linear> {
  const bytes = matrix.read(new Uint8Array(matrix.bytes));
  return await placeLinear(engine, { type: matrix.type, shape: [matrix.ne[0], matrix.ne[1]], read: async () => bytes });
}

/** Bytes of a cache line, and of a register of AVX-512 or a row of an AMX tile. */
const cacheLine = 64;
/** `struct ggml_backend_buffer_type` (ggml-backend-impl.h): six functions, the third of which gives the alignment, then device and context. */
const fields = 8;
const alignmentField = 2;

const computeTypes = new Map<string, BufferTypeHandle>();

/**
 * The buffer type that intermediate results of `device` are kept in: its plain one, but with tensors at the beginning of cache lines
 * if registers are as wide as these. ggml aligns to 32 bytes on every processor; a tensor in the middle of a line makes every
 * access of AVX-512 and AMX touch two, which cost a fifth of the speed of training and of a forward pass.
 */
export function computeBufferType(device: Device): BufferTypeHandle {
  const { plain, name } = device;
  let type = computeTypes.get(name);
  if (type === undefined) {
    const wide = device.kind === 'cpu' && device.features().AVX512 === '1';
    type = wide ? aligned(plain.handle) : plain.handle;
    computeTypes.set(name, type);
  }
  return type;
}

/** A copy of a buffer type whose alignment is a cache line; the type itself if its structure is not the expected one. */
function aligned(plain: BufferTypeHandle): BufferTypeHandle {
  const { ggml } = native();
  const copy = allocateForever(8 * fields) as BufferTypeHandle;
  const pointers = new BigUint64Array(viewMemory(copy, 8 * fields));
  pointers.set(new BigUint64Array(viewMemory(plain, 8 * fields)));
  // Asked on this thread only, when a scheduler is made.
  pointers[alignmentField] = functionForever(fn('get_alignment', size, [pointer]), () => cacheLine);
  const sound =
    Number(ggml.bufferTypeAlignment(copy)) === cacheLine && ggml.bufferTypeName(copy) === ggml.bufferTypeName(plain);
  return sound ? copy : plain;
}
