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
  summary: 'Manages your adapters: versions in the vault, rolling back, converting, combining, merging.',
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
    'NAME is the version in use, NAME@3 the third one, NAME@base the base model alone. Other commands accept vault:NAME and',
    'vault:NAME@3 wherever they take an adapter file. loam tune DATA --keep NAME adds a version.',
    'The last four verbs read LoRA GGUF files and the folders that PEFT saves; --out decides what they write: FILE.gguf or a folder.',
  ].join('\n'),
});
