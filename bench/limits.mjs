// `loam tune` under real limits of memory, in a control group of its own for each (Linux, as root): what was quoted, what it took at
// most, the gain on held-out examples, and the time.
//
//   npm run build && sudo node bench/limits.mjs [DATA.json] [--held-out FILE] [--limits 1200,800,500,350] [-- further flags of loam tune]
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLine, eventsOf, program, writeFirst } from './program.mjs';

const {
  values,
  positionals,
  further = [],
} = commandLine({
  'held-out': { type: 'string', default: join(import.meta.dirname, '../assets/examples/mara-heldout.json') },
  limits: { type: 'string', default: '1200,800,500,350' },
  examples: { type: 'string', default: '40' },
});

/** The memory controller of either version of control groups: its folder, and the names of its files. */
const controller = existsSync('/sys/fs/cgroup/memory')
  ? {
      folder: '/sys/fs/cgroup/memory',
      limit: 'memory.limit_in_bytes',
      oom: 'memory.oom_control',
      processes: 'cgroup.procs',
    }
  : {
      folder: '/sys/fs/cgroup',
      limit: 'memory.max',
      oom: 'memory.events',
      processes: 'cgroup.procs',
    };

const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const data = join(folder, 'data.json');
  await writeFirst(data, values.examples, positionals[0]);
  console.log('limit MB | quoted MB | most resident MB | killed | layers | tokens/s | held-out loss | gain | seconds');
  for (const megabytes of values.limits.split(',').map(Number)) {
    const group = join(controller.folder, `loam-bench-${process.pid}-${megabytes}`);
    mkdirSync(group);
    try {
      writeFileSync(join(group, controller.limit), String(megabytes * 1e6));
      const started = performance.now();
      const events = await tune(join(group, controller.processes), data, join(folder, `${megabytes}.gguf`));
      const seconds = (performance.now() - started) / 1000;
      const killed = Number(/oom_kill (\d+)/.exec(readFileSync(join(group, controller.oom), 'utf8'))?.[1] ?? 0);
      const quote = events.find(({ type }) => type === 'quote');
      const { nll, peakRssBytes, message } = events.at(-1) ?? {};
      const speeds = events.flatMap((e) => (e.type === 'step' ? [e.tokensPerSecond] : [])).sort((a, b) => a - b);
      const figures = [
        megabytes,
        quote && (quote.memoryBytes / 1e6).toFixed(0),
        peakRssBytes ? (peakRssBytes / 1e6).toFixed(0) : message,
        killed,
        quote?.layers,
        speeds[speeds.length >> 1]?.toFixed(0),
        nll?.adapted.toFixed(3),
        nll && `${(100 * (1 - nll.adapted / nll.base)).toFixed(1)} %`,
        seconds.toFixed(0),
      ];
      console.log(figures.map((figure) => String(figure ?? '-').padStart(8)).join(' | '));
    } finally {
      rmdirSync(group);
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The events of a run whose process joins a control group before it begins. */
async function tune(processes, data, out) {
  const args = ['tune', data, '--method', 'qlora', '--epochs', '1', '--runs', '1', '--heldout', values['held-out']];
  const command = ['sh', '-c', 'echo $$ > "$0" && exec "$@"', processes, process.execPath, program];
  return await eventsOf([...args, '--out', out, ...further], { command });
}
