import { arch, cpus, freemem, platform, release, totalmem } from 'node:os';
import { bytes } from '../base/format.js';
import { freeBytes } from '../base/io.js';
import { loamHome, version } from '../base/process.js';
import { Engine } from '../engine/engine.js';
import { native } from '../engine/native.js';
import { fastestBufferType } from '../engine/placement.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import { listModels } from './listModels.js';

/** Below this much free memory the default model may not tune. */
const leastMemory = 700e6;
/** The default model, its download's temporary copy and an adapter. */
const leastDisk = 300e6;

/** What this device can do, and `obstacles`: sentences on what is in the way. Loads the native libraries. */
export async function examineDevice() {
  const { files, ggml, llama } = native();
  using engine = new Engine();
  const { models, warnings } = await listModels();
  const disk = (await freeBytes(loamHome())) ?? undefined;
  const memory = { total: totalmem(), free: freemem() };
  const devices = engine.devices.map((device) => ({
    name: device.name,
    kind: device.kind,
    description: device.description,
    features: device.features(),
    bufferTypes: [...device.extra, device.plain].map((type) => type.name),
  }));
  // How weights of the common types would be placed here, for the default model's shape.
  const placements = (['f16', 'q4_0', 'q4_1', 'q4_k', 'q6_k', 'q8_0'] as const).map((name) => {
    const inputs = tensorTypes[name].blockSize === 256 ? 2048 : 576;
    return [name, fastestBufferType(engine.main, tensorTypes[name], inputs, 1536).name];
  });
  const obstacles = [...warnings];
  if (memory.free < leastMemory) obstacles.push(`only ${bytes(memory.free)} of memory are free; close other programs`);
  if (disk !== undefined && disk < leastDisk) obstacles.push(`only ${bytes(disk)} are free on the disk of LOAM_HOME`);
  if (devices.every((device) => device.bufferTypes.length === 1)) {
    obstacles.push('this processor has no repacked weight layout; quantised models run, but more slowly');
  }
  return {
    loam: version,
    node: process.version,
    system: `${platform()} ${release()} ${arch()}`,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    threads: engine.threads,
    memory,
    libraries: {
      source: files.source,
      folder: files.folder,
      ggml: `${ggml.version()} (${ggml.commit()})`,
      llama: llama.version(),
    },
    devices,
    placements: Object.fromEntries(placements) as Record<string, string>,
    home: { path: loamHome(), freeDisk: disk },
    models: models.filter((m) => m.installed).map((m) => m.name),
    obstacles,
  };
}
