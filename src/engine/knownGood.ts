import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import type { BufferType, Device } from './engine.js';
import { native } from './native.js';
import { Operations } from './operations.js';
import { dequantize, quantizeRows } from './rows.js';
import { Arena, TensorBuffer } from './tensor.js';
import { rowBytes, type TensorType, type TensorTypeName } from './tensorTypes.js';

/**
 * Whether a device multiplies right, tried once a process on a small product whose result is known. Kernels are chosen by features of
 * the processor that nobody has tested in every combination (with 512-bit SVE those of q4_k and q6_k give noise, from two tokens on),
 * and a wrong product would go unnoticed into an adapter.
 */

/** Two blocks a row of the largest blocks; rows for every repacked layout and for a tile of AMX. */
export const sampleShape = [512, 32] as const;
const [inputs, outputs] = sampleShape;
/** One token; an even count, for kernels that take two rows at once; an odd one that fills tiles and leaves a rest. */
const counts = [1, 6, 33];
/** Share of the sum of magnitudes that a value may be off. f16 sums reach 1e-3; a block left out is half of a row. */
const tolerance = 1e-2;

/** Types that ggml's quantiser makes in no time and without an imatrix; blocks of the others are made up. */
const quantised: ReadonlySet<TensorTypeName> = new Set([
  ...(['f32', 'f16', 'bf16', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0'] as const),
  ...(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'mxfp4'] as const),
]);
/** Without this bit of the exponent in any byte no scale (f16, or 8 bits) is infinite or large, wherever in a block it is. */
const withoutExponent = 0xbf;

function sample(type: TensorType): Uint8Array {
  const random = new Random(7, type.id);
  if (!quantised.has(type.name)) {
    const blocks = new Uint8Array(rowBytes(type, inputs) * outputs);
    return blocks.map(() => random.below(256) & withoutExponent);
  }
  const values = Float32Array.from({ length: inputs * outputs }, () => 2 * random.uniform() - 1);
  return quantizeRows(type.name, values, inputs);
}

/** Whole numbers up to 127, and 127 in every block of 32: rounding them to 8 bits, as kernels do, loses nothing. */
function activations(tokens: number): Float32Array {
  const random = new Random(11, tokens);
  return Float32Array.from({ length: inputs * tokens }, (_, i) => (i % 32 === 0 ? 127 : random.below(255) - 127));
}

/** Of many tokens the first and last of what tiles and vectors hold are looked at: the check is to take milliseconds. */
const looked = (tokens: number) =>
  [0, 1, 2, 3, 4, 5, 15, 16, 31, 32].filter((token) => token < tokens && (tokens < 32 || token > 4 || token === 0));

/** Whether column `token` of the product found is W·x, each value within the tolerance of the magnitudes that it sums. */
function isRight(weights: Float32Array, x: Float32Array, found: Float32Array, token: number): boolean {
  for (let row = 0; row < outputs; row++) {
    let sum = 0;
    let magnitude = 0;
    for (let i = 0; i < inputs; i++) {
      const product = weights[row * inputs + i]! * x[token * inputs + i]!;
      sum += product;
      magnitude += Math.abs(product);
    }
    // Negated, so that what is no number is wrong.
    if (!(Math.abs(found[token * outputs + row]! - sum) <= tolerance * magnitude)) return false;
  }
  return true;
}

/** The product as the device computes it from weights in this layout; undefined if it can't. */
function product(device: Device, layout: BufferType, type: TensorType, data: Uint8Array, x: Float32Array) {
  const { ggml } = native();
  using weights = new TensorBuffer(layout.handle, 1);
  const weight = weights.tensor(type.name, [inputs, outputs]);
  weights.allocate({ usage: 'weights' });
  weight.write(data);
  using arena = new Arena(4, 4);
  const input = arena.tensor('f32', [inputs, x.length / inputs]);
  const result = new Operations(arena.context).mulMat(weight, input);
  if (!ggml.deviceSupportsOp(device.handle, result.handle)) return undefined;
  const buffer = ggml.allocContextTensors(arena.context, device.plain.handle);
  const backend = ggml.deviceInit(device.handle, null);
  try {
    if (!buffer) return undefined;
    input.write(x);
    const graph = ggml.newGraph(arena.context, 4, false);
    ggml.buildForward(graph, result.handle);
    device.procedure('setThreads')?.(backend, 1);
    return ggml.graphCompute(backend, graph) === 0 ? result.toFloat32() : undefined;
  } finally {
    ggml.backendFree(backend);
    if (buffer) ggml.bufferFree(buffer);
  }
}

function tried(device: Device, layout: BufferType, type: TensorType): boolean {
  const data = sample(type);
  const weights = dequantize(type, data);
  return counts.every((tokens) => {
    const x = activations(tokens);
    const found = product(device, layout, type, data, x);
    // What the device does not compute, the scheduler gives to another.
    return found === undefined || looked(tokens).every((token) => isRight(weights, x, found, token));
  });
}

const known = new Map<string, boolean>();

/** Whether products with weights of this type in this layout of the device are right. Takes some milliseconds the first time. */
export function multipliesRight(device: Device, layout: BufferType, type: TensorType): boolean {
  const key = [device.name, layout.name, type.name].join();
  const answer = known.get(key) ?? tried(device, layout, type);
  known.set(key, answer);
  return answer;
}

/** The error for a device that has no layout in which products of this type are right. */
export function wrongProducts(device: Device, type: TensorType): LoamError {
  return new LoamError({
    code: 'engine',
    found: `${device.name} (${device.description}) multiplies weights in ${type.name} wrongly with this engine`,
    where: native().files.folder,
    fix: 'use a model in another quantisation, such as q4_0 or q8_0, or name another build in LOAM_GGML_DIR',
  });
}
