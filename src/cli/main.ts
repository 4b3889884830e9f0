import { LoamError, StoppedError, stated, UsageError } from '../base/errors.js';
import { defaults, describeOptions, flag, parseFlags, type Schema } from '../base/options.js';
import { dumpNoMemory, version } from '../base/process.js';
import type { Command } from './command.js';
import { commandNames, loadCommand, loadCommands } from './commands.js';
import { Output } from './output.js';

/** Entry of the command line: finds the command, reads its options, turns errors into one sentence and an exit code. */

const help = flag('Show this help.');

function usage(command: Command): string {
  return [
    `loam ${command.name} ${command.usage}`.trim(),
    '',
    command.summary,
    ...(command.verbs ? ['', ...verbLines(command)] : []),
    ...(Object.keys(command.options).length > 0 ? ['', ...describeOptions(command.options)] : []),
    ...(command.more ? ['', command.more] : []),
  ].join('\n');
}

function verbLines({ name, verbs = [] }: Command): string[] {
  const calls = verbs.map((verb) => `loam ${name} ${verb.name} ${verb.usage}`.trim());
  const width = Math.max(...calls.map((call) => call.length));
  return verbs.map((verb, i) => `  ${calls[i]!.padEnd(width)}  ${verb.summary}`);
}

async function overview(): Promise<string> {
  const commands = await loadCommands();
  const width = Math.max(...commands.map((c) => c.name.length));
  return [
    `loam ${version}: fine-tunes language models on this device; your data never leaves it`,
    '',
    ...commands.map((c) => `  loam ${c.name.padEnd(width)}  ${c.summary}`),
    '',
    'loam COMMAND --help shows the options of a command.',
  ].join('\n');
}

/** The life of a process of the command line: `run` makes its exit code. */
export async function begin(run: (args: readonly string[]) => Promise<number>): Promise<never> {
  dumpNoMemory();
  // A reader that closes early (`loam ... | head`) is no error, but what was asked for is not done either: ended as by SIGPIPE.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(141);
    });
  }
  process.exitCode = await run(process.argv.slice(2));
  // Where pipes are written in the background (Windows), what is on its way must arrive first.
  await Promise.all(
    [process.stdout, process.stderr].map((s) => new Promise<void>((done) => s.write('', () => done()))),
  );
  // The engine keeps worker threads; nothing of ours is left to do.
  return process.exit();
}

/**
 * Runs one command line.
 * @param patient whether a second signal to stop changes nothing: somebody else counts them
 * @returns the exit code: 0 success, 1 stated failure, 2 wrong usage, 130 stopped by the user
 */
export async function main(args: readonly string[], { patient = false } = {}): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stderr.write(`${await overview()}\n`);
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === 'version') {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  const json = rest.includes('--json');
  const output = new Output(json);
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted && patient) return;
    if (controller.signal.aborted) process.exit(130);
    output.line('stopping ...');
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const command = await loadCommand(name);
    if (!command) {
      throw new UsageError({
        found: `an unknown command "${name}"`,
        expected: `one of ${commandNames.join(', ')}`,
        fix: 'see loam --help',
      });
    }
    await runCommand(command, rest, output, controller.signal);
    return 0;
  } catch (error) {
    return report(error, output, name);
  } finally {
    output.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

async function runCommand(command: Command, args: string[], output: Output, signal: AbortSignal): Promise<void> {
  // `loam adapters --json list` means the same as `loam adapters list --json`.
  const at = args.findIndex((arg) => !arg.startsWith('-'));
  const verb = command.verbs?.find(({ name }) => name === args[at]);
  if (verb) {
    const named = { ...verb, name: `${command.name} ${verb.name}` };
    return await runCommand(named, args.toSpliced(at, 1), output, signal);
  }
  const schema: Schema = { ...command.options, help };
  const { values, positionals } = parseFlags(schema, args);
  if (values.help) {
    process.stderr.write(`${usage(command)}\n`);
    return;
  }
  const [least, most] = command.positionals;
  const called = `loam ${command.name} ${command.usage}`.trim();
  if (positionals.length < least || positionals.length > most) {
    throw new UsageError({
      found: positionals.length < least ? 'too few arguments' : `${positionals.length} arguments`,
      expected: called,
      fix: `see loam ${command.name} --help`,
    });
  }
  const options = { ...defaults(command.options), ...values };
  await command.run({ options, given: new Set(Object.keys(values)), positionals, output, signal, usage: called });
}

/** One sentence for people, one object for programs. Only what is not a stated failure shows a stack: that is a bug of ours. */
export function report(raised: unknown, output: Output, name: string): number {
  const error = stated(raised);
  if (error instanceof LoamError) {
    output.line(error instanceof StoppedError ? error.message : `loam ${name}: ${error.message}`);
    output.event({ type: 'error', code: error.code, message: error.message, exitCode: error.exitCode });
    return error.exitCode;
  }
  const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
  output.line(
    `loam ${name}: an unexpected error. This is a bug in Loam; please report it with what follows.\n${problem}`,
  );
  output.event({ type: 'error', message: error instanceof Error ? error.message : String(error), exitCode: 1 });
  return 1;
}
