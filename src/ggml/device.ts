import {
  type BufferTypeHandle,
  callPointer,
  type DeviceHandle,
  native,
  type RegistryHandle,
  readPointer,
  readString,
} from './native.js';

/** Order of `enum ggml_backend_dev_type`. */
const kinds = ['cpu', 'gpu', 'igpu', 'accel', 'meta'] as const;
export type DeviceKind = (typeof kinds)[number];

export interface BufferType {
  handle: BufferTypeHandle;
  /** ggml's name: "CPU", "CPU_REPACK", "AMX", "Metal", ... */
  name: string;
}

/** A compute device that a loaded backend offers. */
export class Device {
  readonly name: string;
  readonly description: string;
  readonly kind: DeviceKind;
  readonly registry: RegistryHandle;
  /** The default buffer type, always usable. */
  readonly plain: BufferType;
  /** Faster layouts for weights, best first: AMX, then repacked, then whatever else the backend offers. */
  readonly extra: readonly BufferType[];

  private constructor(readonly handle: DeviceHandle) {
    const { ggml } = native();
    this.name = ggml.deviceName(handle);
    this.description = ggml.deviceDescription(handle);
    this.kind = kinds[ggml.deviceType(handle)] ?? 'accel';
    this.registry = ggml.deviceRegistry(handle);
    const plain = ggml.deviceBufferType(handle);
    this.plain = { handle: plain, name: ggml.bufferTypeName(plain) };
    this.extra = this.readExtra();
  }

  static all(): Device[] {
    const { ggml } = native();
    return Array.from({ length: Number(ggml.deviceCount()) }, (_, i) => new Device(ggml.deviceGet(i)));
  }

  /** A function that the backend offers by name beside the common interface, or undefined. */
  procedure(name: string): bigint | undefined {
    return native().ggml.registryProc(this.registry, name) ?? undefined;
  }

  private readExtra(): BufferType[] {
    const { ggml } = native();
    const get = this.procedure('ggml_backend_dev_get_extra_bufts');
    const list = get ? (callPointer(get, 'void* loam_extra_bufts(void*)', this.handle) as bigint | null) : null;
    const found: BufferType[] = [];
    for (let i = 0; list; i++) {
      const handle = readPointer(list + BigInt(8 * i)) as BufferTypeHandle;
      if (handle === 0n) break;
      found.push({ handle, name: ggml.bufferTypeName(handle) });
    }
    const rank = (name: string) => (name.includes('AMX') ? 0 : name.includes('REPACK') ? 1 : 2);
    return found.sort((a, b) => rank(a.name) - rank(b.name));
  }

  /** CPU features and build options the backend reports, e.g. { AVX512: "1", REPACK: "1" }. */
  features(): Record<string, string> {
    const get = this.procedure('ggml_backend_get_features');
    const list = get ? (callPointer(get, 'void* loam_features(void*)', this.registry) as bigint | null) : null;
    const found: Record<string, string> = {};
    for (let at = list ?? 0n; at !== 0n; at += 16n) {
      const name = readPointer(at);
      if (name === 0n) break;
      found[readString(name)] = readString(readPointer(at + 8n));
    }
    return found;
  }

  /** Bytes of memory, free and total, as the backend tells. */
  memory(): { free: number; total: number } {
    const free = new BigUint64Array(1);
    const total = new BigUint64Array(1);
    native().ggml.deviceMemory(this.handle, free, total);
    return { free: Number(free[0]), total: Number(total[0]) };
  }
}
