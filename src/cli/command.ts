import { UsageError } from '../base/errors.js';
import { flag, type Schema, text, type Values } from '../base/options.js';
import type { Output } from './output.js';

/** What a command gets to work with. */
export interface Invocation<S extends Schema> {
  options: Values<S>;
  /** Names of the options that were given, not defaulted. */
  given: ReadonlySet<string>;
  positionals: string[];
  output: Output;
  /** Fires on Ctrl-C. */
  signal: AbortSignal;
  /** How the command is called: for messages on what is missing. */
  usage: string;
}

/** One command of the command line: `loam <name> ...`. */
export interface Command<S extends Schema = Schema> {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** What follows the name in the usage line. */
  usage: string;
  options: S;
  /** Number of positional arguments accepted: [at least, at most]. */
  positionals: readonly [number, number];
  /** Shown under the options by --help: examples, notes. */
  more?: string;
  /** Subcommands: `loam <name> <verb> ...`. Anything else goes to `run`. */
  verbs?: readonly Command[];
  run(invocation: Invocation<S>): Promise<void>;
}

/** Keeps the schema's literal types. */
export function command<S extends Schema>(definition: Command<S>): Command<S> {
  return definition;
}

/** A command that consists of its verbs, each a file under `commands/<name>/`. */
export function commandGroup(
  definition: Pick<Command, 'name' | 'summary' | 'more'> & { verbs: readonly unknown[] },
): Command {
  const verbs = definition.verbs as readonly Command[];
  const names = verbs.map(({ name }) => name);
  return {
    ...definition,
    verbs,
    usage: names.join(' | '),
    options: {},
    positionals: [0, 1],
    async run({ positionals }) {
      throw new UsageError({
        found: positionals.length === 0 ? `loam ${definition.name} alone` : `loam ${definition.name} ${positionals[0]}`,
        expected: `one of ${names.join(', ')} after it`,
        fix: `see loam ${definition.name} --help`,
      });
    },
  };
}

/** The value of an option that a command cannot do without. */
export function required(value: string | undefined, flag: string, usage: string): string {
  if (value === undefined) throw new UsageError({ found: `no ${flag}`, expected: usage });
  return value;
}

/** On every command that programs may call. */
export const jsonOption = {
  json: flag('Print one JSON object per line on stdout; the last one is the result.'),
} as const satisfies Schema;

/** On every command that works with one adapter. */
export const adapterOption = {
  adapter: text('ADAPTER', 'LoRA adapter: a GGUF file, or vault:NAME[@N].'),
} as const satisfies Schema;

/** On every command that opens the vault. */
export const vaultOptions = {
  passphraseFile: text(
    'FILE',
    "File whose first line is the vault's passphrase (default: LOAM_PASSPHRASE, or asked for on the terminal).",
    { advanced: true },
  ),
} as const satisfies Schema;
