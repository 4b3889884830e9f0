import { statfs } from 'node:fs/promises';
import { arch, cpus, freemem, platform, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { bytes } from '../../base/format.js';
import { loamHome, version } from '../../base/process.js';
import { Engine } from '../../engine/engine.js';
import { native } from '../../engine/native.js';
import { fastestBufferType } from '../../engine/placement.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import { listModels } from '../../models/listModels.js';
import { command, jsonOption } from '../command.js';

/** Below this much free memory the default model may not tune. */
const leastMemory = 700e6;
/** The default model, its download's temporary copy and an adapter. */
const leastDisk = 300e6;

export const doctorCommand = command({
  name: 'doctor',
  summary: 'Shows what this device can do, and what is in the way.',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    const { files, ggml, llama } = native();
    using engine = new Engine();
    const { models, warnings } = await listModels();
    const disk = await freeDisk();
    // How weights of the common types would be placed here, for the default model's shape.
    const placements = (['f16', 'q4_0', 'q4_1', 'q4_k', 'q6_k', 'q8_0'] as const).map((name) => {
      const inputs = tensorTypes[name].blockSize === 256 ? 2048 : 576;
      return [name, fastestBufferType(engine.main, tensorTypes[name], inputs, 1536).name] as const;
    });
    const report = {
      loam: version,
      node: process.version,
      system: `${platform()} ${release()} ${arch()}`,
      processor: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      threads: engine.threads,
      memory: { total: totalmem(), free: freemem() },
      libraries: {
        source: files.source,
        folder: files.folder,
        ggml: `${ggml.version()} (${ggml.commit()})`,
        llama: llama.version(),
      },
      devices: engine.devices.map((device) => ({
        name: device.name,
        kind: device.kind,
        description: device.description,
        features: device.features(),
        bufferTypes: [...device.extra, device.plain].map((type) => type.name),
      })),
      placements: Object.fromEntries(placements),
      home: { path: loamHome(), freeDisk: disk },
      models: models.filter((m) => m.installed).map((m) => m.name),
    };
    const line = (label: string, text: string) => output.line(`${label.padEnd(12)} ${text}`);
    line('loam', `${report.loam}, Node ${process.versions.node}`);
    line('system', report.system);
    line('processor', `${report.processor}, ${report.cores} cores; ${report.threads} threads used`);
    line('memory', `${bytes(report.memory.total)}, ${bytes(report.memory.free)} free`);
    line('libraries', `${report.libraries.source}: ggml ${report.libraries.ggml}, llama.cpp ${report.libraries.llama}`);
    line('', report.libraries.folder);
    for (const device of report.devices) {
      line('device', `${device.name} (${device.kind}): ${device.description}`);
      const features = Object.entries(device.features).filter(([, value]) => value !== '0');
      if (features.length > 0)
        line('', `features: ${features.map(([name, value]) => (value === '1' ? name : `${name}=${value}`)).join(' ')}`);
      line('', `buffer types: ${device.bufferTypes.join(', ')}`);
    }
    line('weights in', placements.map(([type, place]) => `${type}: ${place}`).join(', '));
    line('home', `${report.home.path}${disk === undefined ? '' : `, ${bytes(disk)} free`}`);
    line(
      'models',
      report.models.length > 0
        ? report.models.join(', ')
        : 'none yet; `loam models get smollm2-135m` fetches the default',
    );

    const obstacles = [...warnings];
    if (report.memory.free < leastMemory)
      obstacles.push(`only ${bytes(report.memory.free)} of memory are free; close other programs`);
    if (disk !== undefined && disk < leastDisk) obstacles.push(`only ${bytes(disk)} are free where LOAM_HOME lies`);
    if (report.devices.every((device) => device.bufferTypes.length === 1)) {
      obstacles.push('this processor has no repacked weight layout; quantised models run, but more slowly');
    }
    output.line();
    output.line(obstacles.length === 0 ? 'nothing is in the way' : 'in the way:');
    for (const obstacle of obstacles) output.line(`  ${obstacle}`);
    output.event({ type: 'result', ...report, obstacles });
  },
});

/** Bytes free on the disk of LOAM_HOME, or of its nearest existing parent. */
async function freeDisk(): Promise<number | undefined> {
  for (let path = loamHome(); ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch {
      if (path === dirname(path)) return undefined;
    }
  }
}
