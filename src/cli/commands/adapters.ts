import { commandGroup } from '../command.js';
import { combineVerb } from './adapters/combine.js';
import { convertVerb } from './adapters/convert.js';
import { deleteVerb } from './adapters/delete.js';
import { exportVerb } from './adapters/export.js';
import { importVerb } from './adapters/import.js';
import { listVerb } from './adapters/list.js';
import { mergeVerb } from './adapters/merge.js';
import { noteVerb } from './adapters/note.js';
import { rollbackVerb } from './adapters/rollback.js';
import { showVerb } from './adapters/show.js';
import { shrinkVerb } from './adapters/shrink.js';
import { useVerb } from './adapters/use.js';

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
  ].join('\n'),
});
