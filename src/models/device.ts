import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from 'node:os';
import { clauseOf } from '../base/errors.js';
import { freeBytes } from '../base/io.js';
import { loamHome, version } from '../base/process.js';
import { processorName } from '../base/processor.js';
import { Engine } from '../engine/engine.js';
import { native } from '../engine/native.js';
import { fastestBufferType } from '../engine/placement.js';
import { tensorTypes } from '../engine/tensorTypes.js';
import { listModels } from './listModels.js';

/** What this device can do; `warnings`: sentences on the list of models, and on weights that it multiplies wrongly. Loads the native libraries. */
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
    try {
      return [name, fastestBufferType(engine.main, tensorTypes[name], inputs, 1536).name];
    } catch (error) {
      warnings.push(clauseOf(error));
      return [name, 'refused'];
    }
  });
  return {
    loam: version,
    node: process.version,
    system: `${platform()} ${release()} ${arch()}`,
    processor: processorName(),
    cores: cpus().length || availableParallelism(),
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
    models: models.filter((m) => m.installed).map(({ name, path }) => ({ name, path })),
    warnings,
  };
}
