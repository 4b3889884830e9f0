import { LoamError } from '../base/errors.js';
import { type Conversation, type Dataset, type Example, textOf } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { Finding } from '../examples/personal/finding.js';
import { findPersonal, summarise } from '../examples/personal/findPersonal.js';
import { redact } from '../examples/personal/redact.js';
import { json } from '../examples/readers/json.js';
import type { Json, DatasetInfo as StoredDataset } from '../store/types.js';
import type { Vault } from '../store/Vault.js';
import type { DatasetEdit, ExampleInput } from './contract/datasets.js';
import { notFound } from './http/errors.js';
import type { Services } from './Services.js';

/** Data sets kept parsed: a page that is scrolled asks for the same one again and again. */
const KEPT = 2;

/** The examples of data sets, the excluded ones among them, as the page shows and edits them. */
export class ParsedDatasets {
  private readonly parsed = new Map<string, Promise<Dataset>>();
  private readonly found = new WeakMap<Dataset, Promise<Finding[]>>();

  /** All usable examples and what was found wrong with the others. */
  async open(vault: Vault, info: StoredDataset): Promise<Dataset> {
    const key = `${info.id} ${info.sha256}`;
    let found = this.parsed.get(key);
    if (!found) {
      const { name, container } = info;
      found = vault.datasets.read(info.id).then((bytes) => loadDataset({ name, bytes, container }));
      this.parsed.set(key, found);
      found.catch(() => this.parsed.delete(key));
      for (const old of [...this.parsed.keys()].slice(0, -KEPT)) this.parsed.delete(old);
    }
    return await found;
  }

  /** Private details in its examples. Searching takes about half a second a megabyte; it is done once while a data set is looked at. */
  async findings(vault: Vault, info: StoredDataset): Promise<Finding[]> {
    const dataset = await this.open(vault, info);
    let found = this.found.get(dataset);
    if (!found) {
      found = findPersonal(dataset.examples);
      this.found.set(dataset, found);
    }
    return await found;
  }

  clear(): void {
    this.parsed.clear();
  }
}

type Fields =
  | { instruction: string; input: string; output: string }
  | { messages: Conversation['messages'] }
  | { text: string; continues?: string };

/** A text or a question with one answer as its fields; anything longer as it is. */
export function toFields(example: Pick<Example, 'messages'>): Fields {
  const text = textOf(example);
  if (text !== undefined) {
    const { content, continues } = text;
    return { text: content, ...(continues !== undefined && { continues }) };
  }
  const messages = example.messages as Conversation['messages'];
  const [first, second] = messages;
  if (messages.length === 2 && first!.role === 'user' && second!.role === 'assistant' && second!.train !== false) {
    return { instruction: first!.content, input: '', output: second!.content };
  }
  return { messages: [...messages] };
}

/** A data set as Loam writes it: a JSON list of what `toFields` gives. */
export function encodeDataset(records: readonly (Fields | ExampleInput)[]): Uint8Array {
  return Buffer.from(json.write(records));
}

/** Searches a data set for private details and keeps their numbers beside it. */
export async function noteFindings(vault: Vault, views: ParsedDatasets, info: StoredDataset): Promise<StoredDataset> {
  const findings = await views.findings(vault, info);
  return await vault.datasets.annotate(info.id, { findings: summarise(findings) as unknown as Json });
}

/**
 * Changes a data set. If texts change it is rewritten as a JSON list, without the records that could not be used, and the earlier
 * content is destroyed. Numbers are those before the edit; afterwards examples are numbered from 0.
 * @throws LoamError: not-found for a number that is not there; changed; exists
 */
export async function editDataset(services: Services, id: string, edit: DatasetEdit): Promise<StoredDataset> {
  const { vault } = services;
  let info = vault.datasets.get(id);
  if (edit.sha256 !== undefined && edit.sha256 !== info.sha256) {
    throw new LoamError({ code: 'changed', found: 'the data set has changed in the meantime', fix: 'load it again' });
  }
  const { examples } = await services.datasets.open(vault, info);
  const positions = new Map(examples.map(({ source }, at) => [source.index, at]));
  const at = (index: number): number => {
    const found = positions.get(index);
    if (found === undefined) throw notFound(`example number ${index}`);
    return found;
  };
  for (const index of edit.exclude ?? []) at(index);
  const excluded = new Set([...info.excluded, ...(edit.exclude ?? [])]);
  for (const index of edit.include ?? []) excluded.delete(index);
  if (!edit.add?.length && examples.every(({ source }) => excluded.has(source.index))) {
    throw new LoamError({
      code: 'invalid-data',
      found: 'every example would be excluded',
      fix: 'keep at least one, or delete the data set',
    });
  }
  if (edit.name !== undefined) info = await vault.datasets.rename(id, edit.name);
  if (!edit.edit && !edit.redact && !edit.add) {
    return await vault.datasets.annotate(id, { excluded: [...excluded] });
  }
  const records: (Fields | ExampleInput)[] = examples.map(toFields);
  if (edit.redact) {
    const wanted = edit.redact;
    const chosen = (await services.datasets.findings(vault, info)).filter(
      (finding) =>
        wanted === 'all' || wanted.some((one) => one.index === finding.record && one.findingId === finding.id),
    );
    for (const [record, findings] of groupBy(chosen, ({ record }) => record)) {
      records[at(record)] = toFields(redact(examples[at(record)]!, findings));
    }
  }
  for (const { index, example } of edit.edit ?? []) {
    // Whether the text continues is not what was edited.
    const { continues } = textOf(examples[at(index)]!) ?? {};
    records[at(index)] = 'text' in example && continues !== undefined ? { continues, ...example } : example;
  }
  records.push(...(edit.add ?? []));
  const replaced = await vault.datasets.replace(id, encodeDataset(records), {
    excluded: [...excluded].flatMap((index) => positions.get(index) ?? []),
  });
  return await noteFindings(vault, services.datasets, replaced);
}

export function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

const DEFAULT_NAME = 'From chats';

/** Adds an example to a data set, or to the one of that name, which is created if there is none. @returns its id */
export async function keepExample(
  services: Services,
  example: { instruction: string; input: string; output: string },
  { dataset, datasetName = DEFAULT_NAME }: { dataset?: string; datasetName?: string },
): Promise<string> {
  const { vault } = services;
  const known =
    dataset === undefined
      ? vault.datasets.list().find(({ name }) => name === datasetName)
      : services.vault.datasets.get(dataset);
  let id = known?.id;
  if (id === undefined) {
    const added = await vault.datasets.add(datasetName, encodeDataset([example]));
    await noteFindings(vault, services.datasets, added);
    id = added.id;
  } else {
    await editDataset(services, id, { add: [example] });
  }
  services.changed('datasets');
  return id;
}
