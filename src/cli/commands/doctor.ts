import { appFiles } from '../../app/appFiles.js';
import type { Reading } from '../../base/device/Reading.js';
import { thisDevice } from '../../base/device/thisDevice.js';
import { clauseOf } from '../../base/errors.js';
import { bytes } from '../../base/format.js';
import { flag } from '../../base/options.js';
import { DEFAULT_MODEL } from '../../models/catalogue.js';
import { examineDevice } from '../../models/device.js';
import { type Finding, findObstacles } from '../../serve/doctor/checks.js';
import { gather } from '../../serve/doctor/circumstances.js';
import { command, jsonOption } from '../command.js';
import type { Output } from '../output.js';

export const doctorCommand = command({
  name: 'doctor',
  summary: 'Shows what this device can do, and what is in the way.',
  usage: '[--fix]',
  options: {
    fix: flag(
      'Do what can be done from here about what is in the way, such as opening the right page of the settings.',
    ),
    ...jsonOption,
  },
  positionals: [0, 0],
  async run({ options, output }) {
    const device = thisDevice();
    const look = async () => {
      const report = await examineDevice();
      const worker = async () => String((await appFiles()).get('/sw.js')!.body);
      return { report, circumstances: await gather(device, report, worker) };
    };
    const { report, circumstances } = await look();
    let findings = findObstacles(circumstances);
    const { memory, libraries, home, models, warnings } = report;
    const line = (label: string, text: string) => output.line(`${label.padEnd(12)} ${text}`);
    line('loam', `${report.loam}, Node ${process.versions.node}`);
    line('system', report.system);
    line('processor', `${report.processor}, ${report.cores} cores; ${report.threads} threads used`);
    line('memory', `${bytes(memory.total)}, ${bytes(circumstances.reading.freeMemory)} free`);
    line('power', describePower(circumstances.reading));
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
    line('models', models.length > 0 ? models.map(({ name }) => name).join(', ') : fetch);
    const done: string[] = [];
    if (options.fix) {
      for (const { code, fix } of findings) {
        if (!fix) continue;
        const what = await fix(device).catch((error: unknown) => clauseOf(error));
        done.push(`${code}: ${what ?? 'it cannot be done from here'}`);
      }
      if (done.length > 0) findings = findObstacles((await look()).circumstances);
    }
    showFindings(findings, warnings, output);
    for (const what of done) output.line(`--fix, ${what}`);
    const obstacles = [...warnings, ...findings.filter(({ effect }) => effect !== 'unknown').map(asSentence)];
    output.event({
      type: 'result',
      ...report,
      models: models.map(({ name }) => name),
      obstacles,
      findings: findings.map(({ fix, ...finding }) => ({ ...finding, fixable: fix !== undefined })),
      fixed: done,
    });
  },
});

function describePower({ battery, processorCelsius }: Reading): string {
  const heat = processorCelsius === undefined ? [] : [`processor at ${processorCelsius.toFixed(0)} °C`];
  if (battery === undefined) return ['battery not known', ...heat].join(', ');
  if (battery === null) return ['mains', ...heat].join(', ');
  const warm = battery.celsius === undefined ? '' : `, ${battery.celsius.toFixed(0)} °C`;
  return [`battery at ${battery.percent} %${warm}, ${battery.charging ? 'charging' : 'not charging'}`, ...heat].join(
    ', ',
  );
}

const effects = {
  kills: 'may end a job',
  slows: 'slows it down',
  waits: 'keeps it waiting',
  unknown: 'cannot be seen from here',
} as const satisfies Record<Finding['effect'], string>;

function asSentence({ found, remedy }: Finding): string {
  return `${found}; ${remedy}`;
}

function showFindings(findings: readonly Finding[], warnings: readonly string[], output: Output): void {
  const sure = findings.filter(({ effect }) => effect !== 'unknown');
  output.line();
  output.line(sure.length + warnings.length === 0 ? 'nothing is in the way' : 'in the way:');
  for (const warning of warnings) output.line(`  ${warning}`);
  for (const { found, remedy, effect } of sure) {
    output.line(`  ${found} (${effects[effect]})`);
    output.line(`    -> ${remedy}`);
  }
  const unsure = findings.filter(({ effect }) => effect === 'unknown');
  if (unsure.length > 0) output.line('to look at yourself, since it cannot be seen from here:');
  for (const { found, remedy } of unsure) {
    output.line(`  ${found}`);
    output.line(`    -> ${remedy}`);
  }
  if (findings.some(({ fix }) => fix !== undefined)) output.line('`loam doctor --fix` does what can be done from here');
}
