import { commandGroup } from '../command.js';
import { combineVerb } from './adapters/combine.js';
import { convertVerb } from './adapters/convert.js';
import { mergeVerb } from './adapters/merge.js';
import { shrinkVerb } from './adapters/shrink.js';

export const adaptersCommand = commandGroup({
  name: 'adapters',
  summary: 'Adapter files: to and from PEFT, sums, lower ranks, merging into the base.',
  verbs: [convertVerb, combineVerb, shrinkVerb, mergeVerb],
  more: [
    'An adapter is a LoRA GGUF file or the folder of an adapter that PEFT saved, wherever one is taken; written is what --out names:',
    'FILE.gguf or a folder.',
  ].join('\n'),
});
