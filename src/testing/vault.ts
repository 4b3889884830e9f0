import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../base/random.js';
import type { Vault } from '../store/Vault.js';

/** What the tests of the vault share: operations that mean the same to a vault and to a plain model of one. */

export const base = { name: 'tiny', sha256: 'ab'.repeat(32) };

/** An example file with one text in it that is looked for afterwards. */
export function examples(text: string, n = 3): Buffer {
  return Buffer.from(
    JSON.stringify(Array.from({ length: n }, (_, i) => ({ instruction: `${text} ${i}?`, output: `${text} ${i}!` }))),
  );
}

/** Everything in a vault that a user sees, as plain JSON, contents included. */
interface Picture {
  datasets: Record<string, string>;
  /** By name: versions as number -> content, and the number in use. */
  adapters: Record<string, { versions: Record<string, string>; active: number | null; next: number }>;
  documents: Record<string, string>;
}

export function emptyPicture(): Picture {
  return { datasets: {}, adapters: {}, documents: {} };
}

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('latin1');
const sorted = <T>(record: Record<string, T>) =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Without `next`, which a vault does not show. */
export function comparable({ datasets, adapters, documents }: Picture): unknown {
  const plain = Object.fromEntries(
    Object.entries(adapters).map(([name, { versions, active }]) => [name, { versions, active }]),
  );
  return { datasets: sorted(datasets), adapters: sorted(plain), documents: sorted(documents) };
}

export async function pictureOf(vault: Vault): Promise<unknown> {
  const picture = emptyPicture();
  for (const { id, name } of vault.datasets.list()) picture.datasets[name] = text(await vault.datasets.read(id));
  for (const { name, versions, active } of vault.adapters.list()) {
    const contents: Record<string, string> = {};
    for (const { id, number } of versions) contents[number] = text(await vault.adapters.read(id));
    picture.adapters[name] = {
      versions: contents,
      active: versions.find(({ id }) => id === active)?.number ?? null,
      next: 0,
    };
  }
  for (const { kind, id } of vault.documents.list()) {
    picture.documents[`${kind}/${id}`] = text(await vault.documents.get(kind, id));
  }
  return comparable(picture);
}

interface Operation {
  apply(vault: Vault): Promise<unknown>;
  model(picture: Picture): void;
}

const names = ['a', 'b', 'ü ß 🌱'];

/** The `index`th of a sequence of operations: the same for the same seed, whatever the state. Those that find nothing do nothing. */
export function operation(seed: number, index: number): Operation {
  const random = new Random(seed, index);
  const name = names[random.below(names.length)]!;
  const content = `content ${seed} ${index} ${'x'.repeat(random.below(300))}`;
  const pick = random.below(1000);
  const dataset = (vault: Vault) => vault.datasets.list().find((info) => info.name === name);
  const adapter = (vault: Vault) => vault.adapters.list().find((found) => found.name === name);
  const kinds: Operation[] = [
    {
      apply: (vault) => vault.documents.put('note', name, Buffer.from(content)),
      model: ({ documents }) => {
        documents[`note/${name}`] = content;
      },
    },
    {
      apply: (vault) => vault.documents.delete('note', name),
      model: ({ documents }) => void delete documents[`note/${name}`],
    },
    {
      apply: async (vault) => dataset(vault) ?? (await vault.datasets.add(name, examples(content))),
      model: ({ datasets }) => {
        datasets[name] ??= text(examples(content));
      },
    },
    {
      apply: async (vault) => {
        const found = dataset(vault);
        if (found) await vault.datasets.replace(found.id, examples(content));
      },
      model: ({ datasets }) => {
        if (datasets[name] !== undefined) datasets[name] = text(examples(content));
      },
    },
    {
      apply: async (vault) => {
        const found = dataset(vault);
        if (found) await vault.datasets.delete(found.id);
      },
      model: ({ datasets }) => void delete datasets[name],
    },
    {
      apply: (vault) => vault.adapters.addVersion(name, Buffer.from(content), { base, datasets: [] }),
      model: ({ adapters }) => {
        const old = adapters[name] ?? { versions: {}, active: null, next: 1 };
        adapters[name] = { versions: { ...old.versions, [old.next]: content }, active: old.next, next: old.next + 1 };
      },
    },
    {
      apply: async (vault) => {
        const found = adapter(vault);
        const chosen = found && [null, ...found.versions.toReversed()][pick % (found.versions.length + 1)];
        if (found) await vault.adapters.use(found.id, chosen?.id ?? null);
      },
      model: ({ adapters }) => {
        const found = adapters[name];
        if (!found) return;
        const numbers = Object.keys(found.versions)
          .map(Number)
          .sort((a, b) => a - b);
        found.active = [null, ...numbers][pick % (numbers.length + 1)]!;
      },
    },
    {
      apply: async (vault) => {
        const found = adapter(vault);
        if (found) await vault.adapters.deleteVersion(found.versions.toReversed()[pick % found.versions.length]!.id);
      },
      model: ({ adapters }) => {
        const found = adapters[name];
        if (!found) return;
        const numbers = Object.keys(found.versions)
          .map(Number)
          .sort((a, b) => a - b);
        const gone = numbers[pick % numbers.length]!;
        delete found.versions[gone];
        if (found.active === gone) found.active = null;
        if (numbers.length === 1) delete adapters[name];
      },
    },
    {
      apply: async (vault) => {
        const found = adapter(vault);
        if (found && pick % 4 === 0) await vault.adapters.delete(found.id);
      },
      model: ({ adapters }) => void (pick % 4 === 0 && delete adapters[name]),
    },
  ];
  return kinds[random.below(kinds.length)]!;
}

/** Every file below a folder. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** Files below a folder that hold a text, or its base64 or hex, as a program that encodes it would leave it. */
export function filesWith(folder: string, canary: string): string[] {
  const plain = Buffer.from(canary);
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), plain])
      .toString('base64')
      .slice(4, -4),
  );
  const forms = [
    plain,
    Buffer.from(canary, 'utf16le'),
    ...[plain.toString('hex'), ...base64].map((form) => Buffer.from(form)),
  ];
  return filesBelow(folder).filter((path) => {
    const content = readFileSync(path);
    return forms.some((form) => content.includes(form));
  });
}
