import { commandGroup } from '../command.js';
import { combineVerb, convertVerb, mergeVerb, shrinkVerb } from './adapters/files.js';
import {
  deleteVerb,
  exportVerb,
  importVerb,
  listVerb,
  noteVerb,
  rollbackVerb,
  showVerb,
  useVerb,
} from './adapters/stored.js';

export const adaptersCommand = commandGroup({
  name: 'adapters',
  summary: 'Your adapters in the vault and on disk: versions, going back, other formats, sums, merging.',
  verbs: [
    listVerb,
    showVerb,
    useVerb,
    rollbackVerb,
    noteVerb,
    exportVerb,
    importVerb,
    deleteVerb,
    convertVerb,
    combineVerb,
    shrinkVerb,
    mergeVerb,
  ],
  more: [
    'NAME is the version in use, NAME@3 the third, NAME@base the bare base model. Other commands take vault:NAME and vault:NAME@3',
    'where they take the file of an adapter. loam tune DATA --keep NAME adds a version.',
    'An adapter is a LoRA GGUF file or the folder of an adapter that PEFT saved, wherever one is taken; written is what --out names:',
    'FILE.gguf or a folder.',
  ].join('\n'),
});
