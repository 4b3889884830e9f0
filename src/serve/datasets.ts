import type { Static, TSchema } from 'typebox';
import Value from 'typebox/value';
import { LoamError } from '../base/errors.js';
import { type Conversation, type Dataset, type Example, textOf } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { Finding } from '../examples/personal/finding.js';
import { findPersonal, summarise } from '../examples/personal/findPersonal.js';
import { redact } from '../examples/personal/redact.js';
import { json } from '../examples/readers/json.js';
import type {
  Json,
  Adapter as StoredAdapter,
  DatasetInfo as StoredDataset,
  AdapterVersion as StoredVersion,
} from '../store/types.js';
import type { Vault } from '../store/Vault.js';
import { type Adapter, type AdapterVersion, Memorised, VersionMetrics } from './contract/adapters.js';
import {
  type DatasetEdit,
  type DatasetInfo,
  type ExampleInput,
  FindingSummary,
  type Finding as FindingView,
} from './contract/datasets.js';
import { notFound } from './http/errors.js';
import type { Services } from './Services.js';

/** Data sets kept parsed: a page that is scrolled asks for the same one again and again. */
const KEPT = 2;

/** The examples of data sets, the excluded ones among them, as the page shows and edits them. */
export class DatasetViews {
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
export async function noteFindings(vault: Vault, views: DatasetViews, info: StoredDataset): Promise<StoredDataset> {
  const findings = await views.findings(vault, info);
  return await vault.datasets.annotate(info.id, { findings: summarise(findings) as unknown as Json });
}

/** What the index keeps in a form of its own, where it has that form. */
function readAs<S extends TSchema>(schema: S, kept: unknown): Static<S> | undefined {
  return Value.Check(schema, kept) ? kept : undefined;
}

export function viewDataset(info: StoredDataset): DatasetInfo {
  return { ...info, excluded: info.excluded.length, findings: readAs(FindingSummary, info.findings) };
}

/** A find as the page shows it: its text is a field of the example where that is shown as fields. */
export function viewFinding(finding: Finding, asFields: boolean): FindingView {
  const { id, kind, label, certainty, message, role, start, end, number, preview } = finding;
  const fields = { system: 'system', user: 'instruction', assistant: 'output', text: 'text' };
  const field = asFields ? fields[role] : `messages.${message}`;
  return { id, kind, label, certainty, field, message, start, end, number, preview };
}

/**
 * Changes a data set. Where texts change it is written anew as a JSON list: records that could not be used are left out of it, and
 * the earlier content is destroyed. Numbers are those before the edit; afterwards examples are numbered from 0.
 * @throws LoamError: not-found for a number that is not there; changed; exists
 */
export async function editDataset(services: Services, id: string, edit: DatasetEdit): Promise<StoredDataset> {
  const { vault } = services;
  let info = vault.datasets.get(id);
  if (edit.sha256 !== undefined && edit.sha256 !== info.sha256) {
    throw new LoamError({ code: 'changed', found: 'the data set was changed meanwhile', fix: 'load it again' });
  }
  const dataset = await services.datasets.open(vault, info);
  const positions = new Map(dataset.examples.map(({ source }, at) => [source.index, at]));
  const at = (index: number): number => {
    const found = positions.get(index);
    if (found === undefined) throw notFound(`example number ${index}`);
    return found;
  };
  const excluded = new Set(info.excluded);
  for (const index of edit.exclude ?? []) {
    at(index);
    excluded.add(index);
  }
  for (const index of edit.include ?? []) excluded.delete(index);
  if (
    excluded.size >= dataset.examples.length &&
    (edit.add ?? []).length === 0 &&
    dataset.examples.every(({ source }) => excluded.has(source.index))
  ) {
    throw new LoamError({
      code: 'invalid-data',
      found: 'every example would be left out',
      fix: 'keep at least one, or delete the data set',
    });
  }
  if (edit.name !== undefined) info = await vault.datasets.rename(id, edit.name);
  if (!edit.edit && !edit.redact && !edit.add) {
    return await vault.datasets.annotate(id, { excluded: [...excluded] });
  }
  const records: (Fields | ExampleInput)[] = dataset.examples.map(toFields);
  if (edit.redact) {
    const all = await services.datasets.findings(vault, info);
    const chosen = edit.redact === 'all' ? all : all.filter((finding) => isChosen(finding, edit.redact as never));
    for (const record of new Set(chosen.map((finding) => finding.record))) {
      const place = at(record);
      records[place] = toFields(
        redact(
          dataset.examples[place]!,
          chosen.filter((finding) => finding.record === record),
        ),
      );
    }
  }
  for (const { index, example } of edit.edit ?? []) {
    const place = at(index);
    // Whether the text goes on behind it is not what was edited.
    const { continues } = textOf(dataset.examples[place]!) ?? {};
    records[place] = 'text' in example && continues !== undefined ? { continues, ...example } : example;
  }
  records.push(...(edit.add ?? []));
  const replaced = await vault.datasets.replace(id, encodeDataset(records), {
    excluded: [...excluded].flatMap((index) => positions.get(index) ?? []),
  });
  return await noteFindings(vault, services.datasets, replaced);
}

function isChosen(
  finding: { id: string; record: number },
  chosen: readonly { index: number; findingId: string }[],
): boolean {
  return chosen.some(({ index, findingId }) => index === finding.record && findingId === finding.id);
}

/** A version as the page shows it: data sets by name, or as deleted. */
export function viewVersion(version: StoredVersion, vault: Vault): AdapterVersion {
  const { lineage, ...own } = version;
  const known = new Map(vault.datasets.list().map(({ id, name }) => [id, name]));
  return {
    ...own,
    base: lineage.base,
    datasets: lineage.datasets.map(({ id }) => ({
      id,
      name: id === undefined ? undefined : known.get(id),
      deleted: id !== undefined && !known.has(id),
    })),
    recipe: lineage.recipe,
    metrics: lineage.metrics && readMetrics(lineage.metrics),
    parent: lineage.parent,
    imported: lineage.imported,
    memorised: memorisedOf(version),
  };
}

/** What a version was found to know by heart; undefined where nobody has asked it. */
export function memorisedOf({ memorised }: StoredVersion): Memorised | undefined {
  return readAs(Memorised, memorised);
}

/** Figures as they should be; an imported file may say anything. */
function readMetrics(kept: Readonly<Record<string, unknown>>): VersionMetrics {
  const figures = Object.entries(VersionMetrics.properties).map(([name, schema]) => [name, readAs(schema, kept[name])]);
  return Object.fromEntries(figures) as VersionMetrics;
}

export function viewAdapter(adapter: StoredAdapter, vault: Vault): Adapter {
  return { ...adapter, versions: adapter.versions.map((version) => viewVersion(version, vault)) };
}
