// What the benches that run loam as a program share: their command line, their examples, and the events of a run.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

export const program = join(import.meta.dirname, '../bin/loam.js');

/**
 * The bench's own options and positionals, and the flags for `loam tune` that stand behind `--`; undefined if nothing does.
 * @template {NonNullable<import('node:util').ParseArgsConfig['options']>} const T
 * @param {T} options
 */
export function commandLine(options, { allowPositionals = true } = {}) {
  const split = process.argv.indexOf('--');
  const args = process.argv.slice(2, split < 0 ? undefined : split);
  const further = split < 0 ? undefined : process.argv.slice(split + 1);
  return { ...parseArgs({ args, allowPositionals, options }), further };
}

/** Writes the first examples of a file, of the bundled one if none is named, to a file of their own. */
export async function writeFirst(
  path,
  count,
  source = join(import.meta.dirname, '../assets/examples/mara-train.json'),
) {
  await writeFile(path, JSON.stringify(JSON.parse(await readFile(source, 'utf8')).slice(0, Number(count))));
}

/**
 * Runs loam with --json, or a command that does, to its end, whatever it comes to. @returns its events
 * @param {readonly string[]} args
 * @param {{ command?: readonly string[], env?: NodeJS.ProcessEnv, stderr?: 'ignore' | 'inherit' }} [how]
 */
export async function eventsOf(args, { command = [process.execPath, program], env, stderr = 'ignore' } = {}) {
  const [file, ...before] = command;
  const child = spawn(file, [...before, ...args, '--json'], { stdio: ['ignore', 'pipe', stderr], env });
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  if (child.exitCode === null && child.signalCode === null) await new Promise((done) => child.once('exit', done));
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** Ticks of a processor's time in a second, as the kernel tells it (USER_HZ of proc(5)). */
const ticks = 100;

/** Seconds of processors that this process and those it has waited for, with theirs, have taken (Linux). */
export function processorSeconds() {
  // utime, stime, cutime, cstime of proc(5), counted behind the name in brackets.
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1).split(' ');
  return fields.slice(11, 15).reduce((sum, value) => sum + Number(value), 0) / ticks;
}
