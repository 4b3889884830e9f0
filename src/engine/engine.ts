import { tmpdir } from 'node:os';
import { LoamError, StoppedError } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { type Callable, callAsync, functionAt, readPointer, readString } from './ffi.js';
import {
  type BackendHandle,
  type BufferTypeHandle,
  type DeviceHandle,
  type GraphHandle,
  procedures,
  type RegistryHandle,
  type SchedulerHandle,
  type ThreadpoolHandle,
} from './ggmlBindings.js';
import { AbortFlag, Workspace } from './graph.js';
import { native } from './native.js';
import { computeBufferType } from './placement.js';
import { ThreadShare } from './ThreadShare.js';
import { TensorBuffer } from './tensor.js';
import { defaultThreads } from './threads.js';

/** The compute devices of this machine and the engine that computes on them. */

/** Order of `enum ggml_backend_dev_type`. */
const kinds = ['cpu', 'gpu', 'igpu', 'accel', 'meta'] as const;
type DeviceKind = (typeof kinds)[number];

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

  /** A function that the backend offers by name, beside the common interface; undefined if it does not. */
  procedure<K extends keyof typeof procedures>(key: K): Callable<(typeof procedures)[K]> | undefined {
    const address = native().ggml.registryProc(this.registry, procedures[key].name);
    return address === null ? undefined : functionAt(address, procedures[key]);
  }

  private readExtra(): BufferType[] {
    const { ggml } = native();
    const list = this.procedure('extraBufferTypes')?.(this.handle);
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
    const list = this.procedure('features')?.(this.registry);
    const found: Record<string, string> = {};
    for (let at = list ?? 0n; at !== 0n; at += 16n) {
      const name = readPointer(at);
      if (name === 0n) break;
      found[readString(name)] = readString(readPointer(at + 8n));
    }
    return found;
  }

  /** Bytes of memory, free and total, as the backend reports them. */
  memory(): { free: number; total: number } {
    const free = new BigUint64Array(1);
    const total = new BigUint64Array(1);
    native().ggml.deviceMemory(this.handle, free, total);
    return { free: Number(free[0]), total: Number(total[0]) };
  }
}

interface EngineOptions {
  /** Compute threads, at most; default: the fast cores of this machine. */
  threads?: number;
  /** Folder for activations that do not fit into memory; default: the system's for temporary files. */
  scratch?: string;
  /**
   * `fast` (default) uses the fastest formulation of each product that is exact but for rounding (of activations to 8 bits, as
   * libllama does, and of the rows of ridge's statistics). `reference` uses the kernels and the f16 keys and values of libllama, so
   * that results can be compared with it to the last bit of the quantised activations, and f32 statistics.
   */
  kernels?: Kernels;
}

export type Kernels = 'fast' | 'reference';

interface Backend {
  device: Device;
  handle: BackendHandle;
}

/** Counted up where the same result comes in other last bits than from the release before. */
const arithmetic = '2';

/** `enum ggml_status` */
const status = { success: 0, aborted: 1 } as const;
/** sizeof(struct ggml_threadpool_params): cpumask of 512 bools, then n_threads, prio, poll (4 bytes each), two bools, padding. */
const threadpoolParamsSize = 528;
const pollOffset = 520;
/**
 * How long an idle compute thread spins before it sleeps, in ggml's unit of about 2.6 ms: long enough for the gap between two graphs,
 * short enough to leave a phone's cores to others. ggml's own default spins for over 100 ms.
 */
const poll = 3;

/**
 * The compute backends of this process: the CPU with its threads, after what helps it (BLAS). Computations run on a worker thread, one
 * at a time, and stop within the graph when their AbortSignal fires.
 */
export class Engine implements Disposable {
  readonly threads: number;
  readonly kernels: Kernels;
  /** Folder for activations that do not fit into memory. */
  readonly scratch: string;
  readonly devices: readonly Device[];
  readonly cpu: Device;
  /** Device that holds weights and runs the graph: the CPU. */
  readonly main: Device;
  private readonly backends: Backend[];
  private readonly threadpool: ThreadpoolHandle | undefined;
  private readonly abortFlag = new AbortFlag();
  private readonly mutex = new Mutex();
  private readonly share: ThreadShare;

  constructor(options: EngineOptions = {}) {
    const { ggml } = native();
    this.kernels = options.kernels ?? 'fast';
    this.threads = options.threads ?? defaultThreads();
    this.share = new ThreadShare(this.threads);
    this.scratch = options.scratch ?? tmpdir();
    const all = Device.all();
    const cpu = all.find((device) => device.kind === 'cpu');
    if (!cpu) {
      throw new LoamError({
        code: 'engine',
        found: 'no CPU backend that runs on this processor',
        where: native().files.folder,
        fix: 'run `loam doctor` and report its output',
      });
    }
    this.cpu = cpu;
    const used = [...all.filter((device) => device.kind === 'accel'), cpu];
    this.backends = used.map((device) => ({ device, handle: ggml.deviceInit(device.handle, null) }));
    this.devices = used;
    this.main = cpu;
    this.threadpool = this.setUpCpu();
  }

  /** A thread pool that is kept saves creating threads for every graph; the abort callback is polled between operations. */
  private setUpCpu(): ThreadpoolHandle | undefined {
    const { handle } = this.backends.at(-1)!;
    this.cpu.procedure('setThreads')?.(handle, this.threads);
    this.cpu.procedure('setAbortCallback')?.(handle, this.abortFlag.callback, this.abortFlag.data);
    const params = Buffer.alloc(threadpoolParamsSize);
    native().ggml.threadpoolParamsInit(params, this.threads);
    params.writeUInt32LE(poll, pollOffset);
    const pool = this.cpu.procedure('threadpoolNew')?.(params) ?? undefined;
    if (pool !== undefined) this.cpu.procedure('setThreadpool')?.(handle, pool);
    return pool;
  }

  /**
   * What the last bits of a result depend on: ggml's release, how we have it compute, the processor features that its kernels were compiled
   * for, and the devices in use beside the processor.
   */
  get build(): Record<string, string> {
    const { ggml } = native();
    const others = this.devices
      .filter((device) => device !== this.cpu)
      .map((device) => [device.name, device.description]);
    const own = { ggml: `${ggml.version()} ${ggml.commit()}`, arithmetic };
    return { ...own, ...this.cpu.features(), ...Object.fromEntries(others) };
  }

  /** A buffer for long-lived tensors on the main device, in its plain layout. */
  buffer(capacity: number): TensorBuffer {
    return new TensorBuffer(this.main.plain.handle, capacity);
  }

  /** Room to build and compute graphs of up to `nodes` nodes; its memory is reused from graph to graph. */
  workspace(nodes: number): Workspace {
    return new Workspace(this, nodes);
  }

  newScheduler(nodes: number): SchedulerHandle {
    const handles = new BigUint64Array(this.backends.map((b) => b.handle));
    const bufferTypes = new BigUint64Array(this.backends.map(({ device }) => computeBufferType(device)));
    return native().ggml.schedulerNew(handles, bufferTypes, handles.length, nodes, false, false);
  }

  /** Bytes of the scheduler's compute buffers over all backends. */
  schedulerBytes(scheduler: SchedulerHandle): number {
    return this.backends.reduce((sum, b) => sum + Number(native().ggml.schedulerBufferSize(scheduler, b.handle)), 0);
  }

  /** Computes an allocated graph. Throws StoppedError within one operation's time of the signal. */
  async compute(scheduler: SchedulerHandle, graph: GraphHandle, signal?: AbortSignal): Promise<void> {
    const compute = async () => {
      this.cpu.procedure('setThreads')?.(this.backends.at(-1)!.handle, this.share.now);
      const [started, used] = [performance.now(), process.cpuUsage()];
      const result = await callAsync(native().ggml.schedulerCompute, scheduler, graph);
      const { user, system } = process.cpuUsage(used);
      // Where another device computes, threads that wait say nothing of the cores.
      if (this.main === this.cpu) {
        this.share.note({ seconds: (performance.now() - started) / 1000, cores: (user + system) / 1e6 });
      }
      return result;
    };
    const result = await this.mutex.run(() => this.abortFlag.during(signal, compute));
    if (result === status.aborted) throw new StoppedError();
    if (result !== status.success) {
      throw new LoamError({ code: 'failed', found: `the engine failed to compute a graph (ggml status ${result})` });
    }
  }

  [Symbol.dispose](): void {
    const { ggml } = native();
    for (const { handle } of this.backends.splice(0)) ggml.backendFree(handle);
    if (this.threadpool !== undefined) this.cpu.procedure('threadpoolFree')?.(this.threadpool);
  }
}
