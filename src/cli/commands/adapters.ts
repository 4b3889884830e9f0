import { UsageError } from '../../util/errors.js';
import type { Schema } from '../../util/options.js';
import { command } from '../command.js';
import { combineVerb } from './adapters/combine.js';
import { convertVerb } from './adapters/convert.js';
import { mergeVerb } from './adapters/merge.js';
import { shrinkVerb } from './adapters/shrink.js';
import type { AdapterVerb } from './adapters/verb.js';

/** In the order of an adapter's life. Options that two verbs share must be the same declaration. */
const verbs = [convertVerb, combineVerb, shrinkVerb, mergeVerb] as unknown as readonly AdapterVerb[];

const options: Schema = Object.assign({}, ...verbs.map((verb) => verb.options));

export const adaptersCommand = command({
  name: 'adapters',
  summary: 'Converts, combines, shrinks and merges adapters.',
  usage: `${verbs.map(({ name }) => name).join('|')} ...`,
  options,
  positionals: [1, 1000],
  more: verbs.map(({ name, usage, summary }) => `loam adapters ${name} ${usage}\n  ${summary}`).join('\n'),
  async run({ options, given, positionals, ...rest }) {
    const [name, ...others] = positionals;
    const verb = verbs.find((known) => known.name === name);
    if (!verb) {
      throw new UsageError({ found: `loam adapters ${name}`, expected: verbs.map((known) => known.name).join(', ') });
    }
    const [least, most] = verb.positionals;
    if (others.length < least || others.length > most) {
      throw new UsageError({
        found: others.length < least ? 'too few arguments' : `${others.length} arguments`,
        expected: `loam adapters ${verb.name} ${verb.usage}`,
      });
    }
    const foreign = [...given].find((option) => !(option in verb.options));
    if (foreign !== undefined) {
      throw new UsageError({ found: `the option ${foreign}`, expected: `loam adapters ${verb.name} ${verb.usage}` });
    }
    await verb.run({ options, given, positionals: others, ...rest });
  },
});
