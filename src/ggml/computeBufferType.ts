import type { Device } from './device.js';
import { allocateForever, type BufferTypeHandle, functionForever, native, viewMemory } from './native.js';

/** Bytes of a cache line, and of a register of AVX-512 or a row of an AMX tile. */
const cacheLine = 64;
/** `struct ggml_backend_buffer_type` (ggml-backend-impl.h): six functions, of which the third tells the alignment, device, context. */
const fields = 8;
const alignmentField = 2;

const known = new Map<string, BufferTypeHandle>();

/**
 * The buffer type that intermediate results of `device` are kept in: its plain one, but with tensors at the beginning of cache lines
 * where registers are as wide as these. ggml aligns to 32 bytes on every processor; a tensor in the middle of a line makes every
 * access of AVX-512 and AMX touch two, which cost a fifth of the speed of training and of a forward pass.
 */
export function computeBufferType(device: Device): BufferTypeHandle {
  const { plain, name } = device;
  let type = known.get(name);
  if (type === undefined) {
    const wide = device.kind === 'cpu' && device.features().AVX512 === '1';
    type = wide ? aligned(plain.handle) : plain.handle;
    known.set(name, type);
  }
  return type;
}

/** A copy of a buffer type whose alignment is a cache line; the type itself where its structure is not the expected one. */
function aligned(plain: BufferTypeHandle): BufferTypeHandle {
  const { ggml } = native();
  const copy = allocateForever(8 * fields) as BufferTypeHandle;
  const pointers = new BigUint64Array(viewMemory(copy, 8 * fields));
  pointers.set(new BigUint64Array(viewMemory(plain, 8 * fields)));
  // Asked on this thread only, when a scheduler is made.
  pointers[alignmentField] = functionForever('size_t loam_alignment(void*)', () => cacheLine);
  const sound =
    Number(ggml.bufferTypeAlignment(copy)) === cacheLine && ggml.bufferTypeName(copy) === ggml.bufferTypeName(plain);
  return sound ? copy : plain;
}
