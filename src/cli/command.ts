import type { Schema, Values } from '../util/options.js';
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
  run(invocation: Invocation<S>): Promise<void>;
}

/** Keeps the schema's literal types. */
export function command<S extends Schema>(definition: Command<S>): Command<S> {
  return definition;
}
