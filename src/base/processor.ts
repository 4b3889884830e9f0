import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { environmentOf } from './child.js';
import { readKernelFile } from './kernelFiles.js';

/** The processor's name for people. On Arm there is none in the instruction set, so it is put together from what the system tells. */

/** CPU part by CPU implementer, as /proc/cpuinfo writes them (MIDR_EL1; Linux, arch/arm64/include/asm/cputype.h). */
const parts: Record<string, Record<string, string>> = {
  '0x41': {
    '0xd03': 'Cortex-A53',
    '0xd04': 'Cortex-A35',
    '0xd05': 'Cortex-A55',
    '0xd07': 'Cortex-A57',
    '0xd08': 'Cortex-A72',
    '0xd09': 'Cortex-A73',
    '0xd0a': 'Cortex-A75',
    '0xd0b': 'Cortex-A76',
    '0xd0c': 'Neoverse-N1',
    '0xd0d': 'Cortex-A77',
    '0xd40': 'Neoverse-V1',
    '0xd41': 'Cortex-A78',
    '0xd44': 'Cortex-X1',
    '0xd46': 'Cortex-A510',
    '0xd47': 'Cortex-A710',
    '0xd48': 'Cortex-X2',
    '0xd49': 'Neoverse-N2',
    '0xd4b': 'Cortex-A78C',
    '0xd4c': 'Cortex-X1C',
    '0xd4d': 'Cortex-A715',
    '0xd4e': 'Cortex-X3',
    '0xd4f': 'Neoverse-V2',
    '0xd80': 'Cortex-A520',
    '0xd81': 'Cortex-A720',
    '0xd82': 'Cortex-X4',
    '0xd85': 'Cortex-X925',
    '0xd87': 'Cortex-A725',
  },
  '0x51': {
    '0x001': 'Oryon',
    '0x800': 'Kryo 2xx Gold',
    '0x801': 'Kryo 2xx Silver',
    '0x802': 'Kryo 3xx Gold',
    '0x803': 'Kryo 3xx Silver',
    '0x804': 'Kryo 4xx Gold',
    '0x805': 'Kryo 4xx Silver',
  },
};

/** What /proc/cpuinfo says of an Arm processor: `1 Cortex-X3, 4 Cortex-A715, 3 Cortex-A510`, the last core first. */
function coresOf(cpuinfo: string): string {
  const counts = new Map<string, number>();
  for (const block of cpuinfo.split(/\n\s*\n/).reverse()) {
    const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(0x[0-9a-f]+)$`, 'im').exec(block)?.[1]?.toLowerCase();
    const [implementer, part] = [field('CPU implementer'), field('CPU part')];
    if (implementer === undefined || part === undefined) continue;
    const name = parts[implementer]?.[part] ?? `core ${implementer}/${part}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}

/** What the system tells of an Arm processor; each may be missing. */
export interface ArmTraces {
  /** /proc/cpuinfo. */
  cpuinfo?: string;
  /** Model of the device tree, such as `Raspberry Pi 5 Model B Rev 1.0`. */
  board?: string;
  /** Android's properties ro.soc.manufacturer, ro.soc.model (12 and later), ro.board.platform. */
  soc?: readonly (string | undefined)[];
}

/** `QTI SM8550 (1 Cortex-X3, 4 Cortex-A715, 3 Cortex-A510)`, or as much of it as is known; undefined if nothing is. */
export function armProcessor({ cpuinfo = '', board, soc = [] }: ArmTraces): string | undefined {
  const [manufacturer, model, platform] = soc.map((text) => text?.trim()).map((text) => text || undefined);
  const named = model && manufacturer && !model.startsWith(manufacturer) ? `${manufacturer} ${model}` : model;
  const hardware = /^Hardware\s*:\s*(\S.*)$/m.exec(cpuinfo)?.[1];
  const chip = named ?? hardware ?? platform ?? board?.replace(/\0.*$/s, '').trim();
  const cores = coresOf(cpuinfo);
  if (chip && cores) return `${chip} (${cores})`;
  return chip || cores || undefined;
}

const property = (name: string): string | undefined =>
  spawnSync('getprop', [name], {
    encoding: 'utf8',
    env: environmentOf('desktop'),
    timeout: 2000,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).stdout ?? undefined;

/** The processor's name; `unknown` if the system keeps it to itself. */
export function processorName(): string {
  const model = cpus()[0]?.model.trim();
  if (process.arch !== 'arm64' || process.platform === 'darwin') return model || 'unknown';
  const android = process.platform === 'android';
  const name = armProcessor({
    cpuinfo: readKernelFile('/proc/cpuinfo'),
    board: readKernelFile('/proc/device-tree/model'),
    soc: android ? ['ro.soc.manufacturer', 'ro.soc.model', 'ro.board.platform'].map(property) : [],
  });
  return name ?? (model || 'unknown');
}
