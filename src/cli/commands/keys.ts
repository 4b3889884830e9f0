import { LoamError } from '../../base/errors.js';
import { choice, integer, text } from '../../base/options.js';
import { type KeyDesk, withKeys } from '../../serve/client.js';
import type { ApiKey } from '../../serve/contract/access.js';
import { type Command, command, commandGroup, jsonOption, vaultOptions } from '../command.js';
import { table } from '../output.js';
import { openVault } from '../vault.js';

const MAX_NAME = 200;

const addVerb = command({
  name: 'add',
  summary: 'makes a key and prints it; nothing shows it a second time',
  usage: 'NAME',
  options: {
    allow: choice(['chat', 'work'], 'What it may do: chat, or also read data, add data and tune.'),
    adapter: text('NAME', 'The only adapter that it may talk to (default: all models and adapters).'),
    days: integer([1, 3650], 'Days until it ends (default: never).'),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    const name = positionals[0]!.trim();
    if (name === '' || name.length > MAX_NAME) {
      throw new LoamError({ code: 'usage', found: 'no usable name', expected: `1 to ${MAX_NAME} characters` });
    }
    const { allow, adapter, days } = options;
    const made = await withKeys(
      () => openVault(options, output, { mustExist: true }),
      async (keys) => {
        const limited = adapter === undefined ? undefined : await findAdapter(keys, adapter);
        return await keys.add({ name, scope: allow as ApiKey['scope'], adapter: limited, days });
      },
    );
    output.line(`the key "${made.name}"; copy it now, only its hash is kept:`);
    if (!options.json) output.text(`${made.key}\n`);
    output.event({ type: 'result', key: made });
  },
});

async function findAdapter(keys: KeyDesk, name: string): Promise<string> {
  const found = (await keys.adapters()).find((one) => one.name === name);
  if (found) return found.id;
  throw new LoamError({ code: 'not-found', found: 'there is no adapter of this name', fix: 'see loam adapters list' });
}

const listVerb = command({
  name: 'list',
  summary: 'lists keys: what they may do, since when, last used when',
  usage: '',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output }) {
    await withKeys(
      () => openVault(options, output, { mustExist: true }),
      async (keys) => {
        const list = await keys.list();
        if (list.length === 0) output.line('no keys yet; loam keys add NAME makes one');
        const rows = list.map(({ id, name, scope, adapter, createdAt, usedOn, endsAt }) => [
          id,
          name,
          adapter === undefined ? scope : `${scope}, one adapter`,
          `made ${createdAt.slice(0, 10)}`,
          usedOn === undefined ? 'never used' : `used ${usedOn}`,
          endsAt === undefined ? '' : `ends ${endsAt.slice(0, 10)}`,
        ]);
        table(rows, output);
        output.event({ type: 'result', keys: list });
      },
    );
  },
});

const revokeVerb = command({
  name: 'revoke',
  summary: 'ends a key, which NAME or its id names',
  usage: 'NAME',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await withKeys(
      () => openVault(options, output, { mustExist: true }),
      async (keys) => {
        const found = (await keys.list()).find(({ id, name }) => name === positionals[0] || id === positionals[0]);
        if (!found) {
          throw new LoamError({ code: 'not-found', found: 'there is no key of this name', fix: 'see loam keys list' });
        }
        await keys.revoke(found.id);
        output.line(`${found.name}: revoked`);
        output.event({ type: 'result', id: found.id });
      },
    );
  },
});

export const keysCommand: Command = commandGroup({
  name: 'keys',
  summary: 'Makes, lists and revokes API keys, by which other programs use the server.',
  verbs: [addVerb, listVerb, revokeVerb],
  more: [
    "Chat programs that speak OpenAI's API take such a key, with http://127.0.0.1:PORT/v1 as base URL. No key can delete, export, or change",
    'the passphrase. A program shows its key to whatever listens at the address that it was given: revoke keys that you no longer use.',
  ].join('\n'),
});
