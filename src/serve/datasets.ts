import { LoamError } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import {
  type Conversation,
  type Dataset,
  type Example,
  type Message as ExampleMessage,
  isTrained,
  textOf,
} from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import { type Finding, placeholder } from '../examples/personal/finding.js';
import { findPersonal, summarise } from '../examples/personal/findPersonal.js';
import { redact } from '../examples/personal/redact.js';
import { json } from '../examples/readers/json.js';
import { type RefusedRecord, refusedRecords } from '../examples/refused.js';
import type { Tool } from '../model/message.js';

import { pythonJson } from '../model/pythonJson.js';
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
  /** Edits one after the other: the next one is decided by what the one before has made. */
  readonly edits = new Mutex();

  /** All usable examples and what was found wrong with the others. */
  async open(vault: Vault, info: StoredDataset): Promise<Dataset> {
    const key = `${info.id} ${info.sha256}`;
    let found = this.parsed.get(key);
    if (!found) {
      const { name, container, columns } = info;
      found = vault.datasets.read(info.id).then((bytes) => loadDataset({ name, bytes, container, columns }));
      this.parsed.set(key, found);
      found.catch(() => this.parsed.delete(key));
      for (const old of [...this.parsed.keys()].slice(0, -KEPT)) this.parsed.delete(old);
    }
    return await found;
  }

  /** Its records that cannot be learnt. */
  async refused(vault: Vault, info: StoredDataset): Promise<RefusedRecord[]> {
    const { problems } = await this.open(vault, info);
    const { name, container, columns } = info;
    return await refusedRecords({ name, bytes: await vault.datasets.read(info.id), container, columns }, problems);
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
  | { messages: Conversation['messages']; tools?: Tool[] }
  | { text: string; continues?: string };

/** A text or a question with one answer as its fields; anything longer as it is. */
export function toFields(example: Pick<Example, 'messages' | 'tools'>): Fields {
  const text = textOf(example);
  if (text !== undefined) {
    const { content, continues } = text;
    return { text: content, ...(continues !== undefined && { continues }) };
  }
  const messages = example.messages as Conversation['messages'];
  const [first, second] = messages;
  const isPair = messages.length === 2 && first!.role === 'user' && second!.role === 'assistant';
  const isPlain = !example.tools && !second?.calls && second?.reasoning === undefined && second?.train !== false;
  if (isPair && isPlain) {
    return { instruction: first!.content, input: '', output: second!.content };
  }
  return { messages: [...messages], ...(example.tools && { tools: example.tools }) };
}

/** A data set as Loam writes it: a JSON list of what `toFields` gives. */
export function encodeDataset(records: readonly (Fields | ExampleInput)[]): Uint8Array {
  return Buffer.from(json.write(records.map(openaiOr)));
}

function openaiOr(record: Fields | ExampleInput): unknown {
  return 'messages' in record ? openaiRecord(record) : record;
}

/** A conversation in OpenAI's form, which other programs read too. Arguments are JSON in a text there, so numbers keep their form. */
function openaiRecord({ messages, tools }: Extract<Fields | ExampleInput, { messages: unknown }>): unknown {
  const told = messages.map(({ reasoning, calls, callId, ...message }) => ({
    ...message,
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(callId !== undefined && { tool_call_id: callId }),
    ...(calls && {
      tool_calls: calls.map(({ id, name, arguments: given }) => ({
        ...(id !== undefined && { id }),
        type: 'function',
        function: { name, arguments: pythonJson(given) },
      })),
    }),
  }));
  const functions = tools?.map((tool) => ({ type: 'function', function: tool }));
  return { messages: told, ...(functions && { tools: functions }) };
}

/** Searches a data set for private details and keeps their numbers beside it. */
export async function noteFindings(vault: Vault, views: ParsedDatasets, info: StoredDataset): Promise<StoredDataset> {
  const findings = summarise(await views.findings(vault, info)) as unknown as Json;
  return await vault.datasets.annotate(info.id, { findings, seen: { sha256: info.sha256 } }).catch((error: unknown) => {
    // Of another content by now, which is being searched by whoever has written it.
    if (error instanceof LoamError && error.code === 'changed') return vault.datasets.get(info.id);
    throw error;
  });
}

/**
 * Changes a data set. If texts change it is rewritten as a JSON list and the earlier content is destroyed. Records that could not be used
 * stay as they are, without their repeats; they go when all private details are redacted, since nobody has searched them. Numbers are those before the edit; afterwards examples are numbered from 0.
 * @throws LoamError: not-found for a number that is not there; exists; changed, if `edit.sha256` is not that of the content, or
 * another process has changed it while the edit was worked out
 */
export async function editDataset(services: Services, id: string, edit: DatasetEdit): Promise<StoredDataset> {
  return await services.datasets.edits.run(() => applyEdit(services, id, edit));
}

async function applyEdit(services: Services, id: string, edit: DatasetEdit): Promise<StoredDataset> {
  const { vault } = services;
  const info = vault.datasets.get(id);
  const seen = { sha256: edit.sha256 ?? info.sha256, excluded: info.excluded };
  // Before all the work; when it is stored it is looked at again.
  if (seen.sha256 !== info.sha256) return await vault.datasets.annotate(id, { seen });
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
  const { answers } = edit;
  const chosen = edit.redact ? chosenFindings(edit.redact, await services.datasets.findings(vault, info)) : [];
  if (answers === 'leave-out') {
    for (const { example, message, record } of chosen) {
      if (isTrained(examples[example]!.messages[message]!)) excluded.add(record);
    }
  }
  const ownWords = typeof answers === 'object' ? answers : undefined;
  if (!edit.add?.length && !edit.repair?.length && examples.every(({ source }) => excluded.has(source.index))) {
    throw new LoamError({
      code: 'invalid-data',
      found: 'every example would be excluded',
      fix: 'keep at least one, or delete the data set',
    });
  }
  if (!edit.edit && !edit.redact && !edit.add && !edit.repair) {
    return await vault.datasets.annotate(id, { name: edit.name, excluded: [...excluded], seen });
  }
  const records: (Fields | ExampleInput)[] = examples.map(toFields);
  for (const [record, findings] of groupBy(chosen, ({ record }) => record)) {
    const inPlaceOf = ({ kind, number }: Finding, message: ExampleMessage) =>
      (isTrained(message) && ownWords?.[kind]) || placeholder(kind, number);
    records[at(record)] = toFields(redact(examples[at(record)]!, findings, inPlaceOf));
  }
  for (const { index, example } of edit.edit ?? []) {
    // Whether the text continues is not what was edited.
    const { continues } = textOf(examples[at(index)]!) ?? {};
    records[at(index)] = 'text' in example && continues !== undefined ? { continues, ...example } : example;
  }
  // What cannot be learnt stays, unless it may hold what is to be gone.
  const repaired = new Map(edit.repair?.map(({ index, example }) => [index, example]));
  const refused = await services.datasets.refused(vault, info);
  const others = refused.flatMap(({ index, value }) => {
    const example = repaired.get(index);
    if (example) return [{ index, record: openaiOr(example) }];
    return edit.redact === 'all' ? [] : [{ index, record: value }];
  });
  for (const index of repaired.keys()) {
    if (!refused.some((one) => one.index === index)) throw notFound(`record number ${index} that cannot be used`);
  }
  const own = records.map((record, i) => ({ index: examples[i]!.source.index, record: openaiOr(record) }));
  const all = [...own, ...others].sort((a, b) => a.index - b.index);
  const places = new Map(all.map(({ index }, i) => [index, i]));
  const written = [...all.map(({ record }) => record), ...(edit.add ?? []).map(openaiOr)];
  const replaced = await vault.datasets.replace(id, Buffer.from(json.write(written)), {
    name: edit.name,
    excluded: [...excluded].flatMap((index) => places.get(index) ?? []),
    seen,
  });
  return await noteFindings(vault, services.datasets, replaced);
}

function chosenFindings(wanted: NonNullable<DatasetEdit['redact']>, all: readonly Finding[]): Finding[] {
  if (wanted === 'all') return [...all];
  return all.filter((finding) => wanted.some((one) => one.index === finding.record && one.findingId === finding.id));
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

/** Attempts at adding to a data set that other processes change. */
const ATTEMPTS = 10;

/** Adds an example to a data set, or to the one of that name, which is created if there is none. @returns its id */
export async function keepExample(
  services: Services,
  example: { instruction: string; input: string; output: string },
  { dataset, datasetName = DEFAULT_NAME }: { dataset?: string; datasetName?: string },
): Promise<string> {
  const { datasets } = services.vault;
  const one = encodeDataset([example]);
  // Another one may add or delete the data set of this name meanwhile.
  for (let attempt = 1; ; attempt++) {
    const id = dataset ?? datasets.list().find(({ name }) => name === datasetName)?.id;
    try {
      const kept =
        id === undefined
          ? await noteFindings(services.vault, services.datasets, await datasets.add(datasetName, one))
          : await editDataset(services, id, { add: [example] });
      services.changed('datasets');
      return kept.id;
    } catch (error) {
      const code = error instanceof LoamError ? error.code : undefined;
      const raced = id === undefined ? code === 'exists' : code === 'changed' || code === 'not-found';
      if (!raced || dataset !== undefined || attempt === ATTEMPTS) throw error;
    }
  }
}
