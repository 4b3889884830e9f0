import type { Schema } from '../../../util/options.js';
import type { Invocation } from '../../command.js';

/** One verb of `loam adapters`. */
export interface AdapterVerb<S extends Schema = Schema> {
  name: string;
  /** What follows the name in the usage line. */
  usage: string;
  /** One sentence for the list of verbs. */
  summary: string;
  options: S;
  /** Number of arguments after the verb: [at least, at most]. */
  positionals: readonly [number, number];
  /** `positionals` are those after the verb. */
  run(invocation: Invocation<S>): Promise<void>;
}

/** Keeps the schema's literal types. */
export function verb<S extends Schema>(definition: AdapterVerb<S>): AdapterVerb<S> {
  return definition;
}
