import { UsageError } from '../../base/errors.js';
import { bytes } from '../../base/format.js';
import { text } from '../../base/options.js';
import { findModel } from '../../models/catalogue.js';
import { fetchModel } from '../../models/fetchModel.js';
import { listModels } from '../../models/listModels.js';
import { addModel, removeModel } from '../../models/manage.js';
import { command, jsonOption } from '../command.js';
import { type Output, table } from '../output.js';
import { showFetch } from '../show.js';

export const modelsCommand = command({
  name: 'models',
  summary: 'Lists, fetches, adds and removes base models.',
  usage: 'list | get NAME | add FILE-or-hub:OWNER/REPO/FILE [--name NAME] | rm NAME',
  options: {
    name: text('NAME', 'Name for the added model (default: from the name of its file).'),
    ...jsonOption,
  },
  positionals: [0, 2],
  more: [
    'Only get, add hub:... and, if its model is missing, demo use the network.',
    'HF_ENDPOINT names another hub; HF_TOKEN is used for models whose licence has to be accepted.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const [action = 'list', target] = positionals;
    const need = (what: string): string => {
      if (target === undefined)
        throw new UsageError({ found: `no ${what}`, expected: `loam models ${action} ${what}` });
      return target;
    };
    switch (action) {
      case 'list':
        return list(output);
      case 'get': {
        const entry = findModel(need('NAME'));
        const { licence } = entry;
        // Said before anything is fetched: a person may not want to accept it.
        if (licence.note) output.line(`licence: ${licence.name}, ${licence.url}; ${licence.note}`);
        const fetched = await showFetch(fetchModel(entry, { signal }), output);
        output.line(`${fetched.path} (${bytes(fetched.bytes)}, sha256 verified)`);
        output.event({ ...fetched, type: 'result' });
        return;
      }
      case 'add': {
        const added = await showFetch(addModel(need('FILE'), options.name, { signal }), output);
        output.line(`added as ${added.name}: ${added.path}`);
        const { methods, why } = added.tuning;
        output.line(`tuning: ${methods}${why === undefined ? '' : ` (${why})`}`);
        output.event({ ...added, type: 'result' });
        return;
      }
      case 'rm': {
        const removed = await removeModel(need('NAME'));
        output.line(
          removed.kept === null
            ? `removed ${removed.name} (${bytes(removed.bytes)} freed)`
            : `forgot ${removed.name}; your file stays at ${removed.kept}`,
        );
        output.event({ ...removed, type: 'result' });
        return;
      }
      default:
        throw new UsageError({ found: `loam models ${action}`, expected: 'list, get, add or rm' });
    }
  },
});

async function list(output: Output): Promise<void> {
  const { models, warnings } = await listModels();
  for (const warning of warnings) output.line(`note: ${warning}`);
  const rows = models.map((m) => [
    `${m.name}${m.isDefault ? ' (default)' : ''}`,
    m.installed ? 'here' : m.partial ? 'partly here' : m.problem ? 'damaged' : '',
    `${m.approximateSize ? '~' : ''}${bytes(m.size)}`,
    m.entry ? `${m.entry.title}, ${m.entry.licence.name}` : m.path,
  ]);
  table(rows, output);
  output.event({ type: 'result', models });
}
