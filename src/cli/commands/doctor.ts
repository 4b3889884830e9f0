import { bytes } from '../../base/format.js';
import { DEFAULT_MODEL } from '../../models/catalogue.js';
import { examineDevice } from '../../models/device.js';
import { command, jsonOption } from '../command.js';

export const doctorCommand = command({
  name: 'doctor',
  summary: 'Shows what this device can do, and what is in the way.',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output }) {
    const report = await examineDevice();
    const { memory, libraries, home, models, obstacles } = report;
    const line = (label: string, text: string) => output.line(`${label.padEnd(12)} ${text}`);
    line('loam', `${report.loam}, Node ${process.versions.node}`);
    line('system', report.system);
    line('processor', `${report.processor}, ${report.cores} cores; ${report.threads} threads used`);
    line('memory', `${bytes(memory.total)}, ${bytes(memory.free)} free`);
    line('libraries', `${libraries.source}: ggml ${libraries.ggml}, llama.cpp ${libraries.llama}`);
    line('', libraries.folder);
    for (const device of report.devices) {
      line('device', `${device.name} (${device.kind}): ${device.description}`);
      const features = Object.entries(device.features).filter(([, value]) => value !== '0');
      if (features.length > 0)
        line('', `features: ${features.map(([name, value]) => (value === '1' ? name : `${name}=${value}`)).join(' ')}`);
      line('', `buffer types: ${device.bufferTypes.join(', ')}`);
    }
    const placements = Object.entries(report.placements).map(([type, place]) => `${type}: ${place}`);
    line('weights in', placements.join(', '));
    line('home', `${home.path}${home.freeDisk === undefined ? '' : `, ${bytes(home.freeDisk)} free`}`);
    const fetch = `none yet; \`loam models get ${DEFAULT_MODEL}\` fetches the default`;
    line('models', models.length > 0 ? models.join(', ') : fetch);
    output.line();
    output.line(obstacles.length === 0 ? 'nothing is in the way' : 'in the way:');
    for (const obstacle of obstacles) output.line(`  ${obstacle}`);
    output.event({ type: 'result', ...report });
  },
});
