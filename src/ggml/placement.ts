import { Arena } from './arena.js';
import type { BufferType, Device } from './device.js';
import { type BufferHandle, native, writePointer } from './native.js';
import { bufferOffset } from './tensor.js';
import type { TensorType } from './tensorTypes.js';

/** Tokens of the product that a placement is chosen for; kernels for batches differ from those for one token. */
const sampleTokens = 512;

/**
 * ggml's AMX kernels take rows of a single block of 32 and give wrong products from 32 tokens on (0.23.0: nothing of the block is
 * summed; placement.test.ts would tell when it is mended).
 */
const amxInputs = 64;

/**
 * The fastest buffer type of `device` that can multiply a weight of this type and shape: each extra type is asked with a made-up
 * product (as llama.cpp's weight_buft_supported does), because each takes only some types and row counts.
 */
export function fastestBufferType(device: Device, type: TensorType, inputs: number, outputs: number): BufferType {
  for (const candidate of device.extra) {
    if (candidate.name === 'AMX' && type.quantised && inputs < amxInputs) continue;
    if (multiplies(device, candidate, type, inputs, outputs)) return candidate;
  }
  return device.plain;
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
  // A buffer of no use but its type: the backend decides by the type of the weight's buffer.
  const probe = ggml.bufferTypeAlloc(candidate.handle, 32) as BufferHandle | null;
  if (!probe) return false;
  writePointer(weight.handle + bufferOffset, probe);
  const answer = ggml.deviceSupportsOp(device.handle, product);
  writePointer(weight.handle + bufferOffset, 0n);
  ggml.bufferFree(probe);
  return answer;
}
