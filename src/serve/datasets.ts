import { LoamError } from '../base/errors.js';
import type { Dataset, Message } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { Finding } from '../examples/personal/finding.js';
import { type FindingSummary, findPersonal, summarise } from '../examples/personal/findPersonal.js';
import { redact } from '../examples/personal/redact.js';
import { json } from '../examples/readers/json.js';
import type { Adapter, AdapterVersion, DatasetInfo, Json } from '../store/types.js';
import type { Vault } from '../store/Vault.js';
import { HttpError } from './http/route.js';
import type { Services } from './Services.js';

/** Data sets kept parsed: a page that is scrolled asks for the same one again and again. */
const KEPT = 2;

/** The examples of data sets, the excluded ones among them, as the page shows and edits them. */
export class DatasetViews {
  private readonly parsed = new Map<string, Promise<Dataset>>();
  private readonly found = new WeakMap<Dataset, Promise<Finding[]>>();

  /** All usable examples and what was found wrong with the others. */
  async open(vault: Vault, info: DatasetInfo): Promise<Dataset> {
    const key = `${info.id} ${info.sha256}`;
    let found = this.parsed.get(key);
    if (!found) {
      found = vault.datasets.read(info.id).then((bytes) => loadDataset({ name: info.name, bytes }));
      this.parsed.set(key, found);
      found.catch(() => this.parsed.delete(key));
      for (const old of [...this.parsed.keys()].slice(0, -KEPT)) this.parsed.delete(old);
    }
    return await found;
  }

  /** Private details in its examples. Searching takes about half a second a megabyte; it is done once while a data set is looked at. */
  async findings(vault: Vault, info: DatasetInfo): Promise<Finding[]> {
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

/** A question with one answer as its three fields; anything longer as it is. */
export function toFields(
  messages: readonly Message[],
): { instruction: string; input: string; output: string } | { messages: Message[] } {
  const [first, second] = messages;
  if (messages.length === 2 && first!.role === 'user' && second!.role === 'assistant' && second!.train !== false) {
    return { instruction: first!.content, input: '', output: second!.content };
  }
  return { messages: [...messages] };
}

/** A data set as Loam writes it: a JSON list of what `toFields` gives. */
export function encodeDataset(examples: readonly (readonly Message[] | Record<string, unknown>)[]): Uint8Array {
  const records = examples.map((example) => (Array.isArray(example) ? toFields(example as Message[]) : example));
  return Buffer.from(json.write(records));
}

/** Searches a data set for private details and keeps their numbers beside it. */
export async function noteFindings(vault: Vault, views: DatasetViews, info: DatasetInfo): Promise<DatasetInfo> {
  const findings = await views.findings(vault, info);
  return await vault.datasets.annotate(info.id, { findings: summarise(findings) as unknown as Json });
}

/** How many private details there are, by kind; undefined where nobody has looked. */
export function readSummary({ findings }: DatasetInfo): FindingSummary | undefined {
  const isSummary = typeof findings === 'object' && findings !== null && 'total' in findings && 'kinds' in findings;
  return isSummary ? (findings as unknown as FindingSummary) : undefined;
}

/** A find as the page shows it: its text is a field of the example where that is shown as fields. */
export function viewFinding(finding: Finding, asFields: boolean) {
  const { id, kind, label, certainty, message, role, start, end, number, preview } = finding;
  const field = !asFields ? `messages.${message}` : role === 'user' ? 'instruction' : 'output';
  return { id, kind, label, certainty, field, message, start, end, number, preview };
}

interface DatasetEdit {
  /** Of the data set that the numbers refer to. */
  sha256?: string;
  name?: string;
  exclude?: readonly number[];
  include?: readonly number[];
  edit?: readonly { index: number; example: Record<string, unknown> | { messages: Message[] } }[];
  redact?: 'all' | readonly { index: number; findingId: string }[];
  add?: readonly Record<string, unknown>[];
}

/**
 * Changes a data set. Where texts change it is written anew as a JSON list: records that could not be used are left out of it, and
 * the earlier content is destroyed. Numbers are those before the edit; afterwards examples are numbered from 0.
 * @throws HttpError 404 for a number that is not there, 409 where the data set has changed meanwhile
 */
export async function editDataset(services: Services, id: string, edit: DatasetEdit): Promise<DatasetInfo> {
  const { vault } = services;
  let info = vault.datasets.get(id);
  if (edit.sha256 !== undefined && edit.sha256 !== info.sha256) {
    throw new HttpError(409, 'the data set was changed meanwhile, load it again', 'changed');
  }
  const dataset = await services.datasets.open(vault, info);
  const positions = new Map(dataset.examples.map(({ source }, at) => [source.index, at]));
  const at = (index: number): number => {
    const found = positions.get(index);
    if (found === undefined) throw new HttpError(404, `there is no example number ${index}`);
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
    throw new LoamError({ found: 'every example would be left out', fix: 'keep at least one, or delete the data set' });
  }
  if (edit.name !== undefined && edit.name !== info.name) {
    if (vault.datasets.list().some(({ name }) => name === edit.name)) {
      throw new HttpError(409, 'there is already a data set of that name', 'name-taken');
    }
    info = await vault.datasets.rename(id, edit.name);
  }
  if (!edit.edit && !edit.redact && !edit.add) {
    return await vault.datasets.annotate(id, { excluded: [...excluded] });
  }
  const examples: (readonly Message[] | Record<string, unknown>)[] = dataset.examples.map(({ messages }) => messages);
  if (edit.redact) {
    const all = await services.datasets.findings(vault, info);
    const chosen = edit.redact === 'all' ? all : all.filter((finding) => isChosen(finding, edit.redact as never));
    for (const record of new Set(chosen.map((finding) => finding.record))) {
      const place = at(record);
      examples[place] = redact(
        dataset.examples[place]!,
        chosen.filter((finding) => finding.record === record),
      ).messages;
    }
  }
  for (const { index, example } of edit.edit ?? []) examples[at(index)] = example as Record<string, unknown>;
  examples.push(...(edit.add ?? []));
  const replaced = await vault.datasets.replace(id, encodeDataset(examples), {
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
export function viewVersion(version: AdapterVersion, vault: Vault) {
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
    metrics: lineage.metrics,
    parent: lineage.parent,
    imported: lineage.imported,
  };
}

export function viewAdapter(adapter: Adapter, vault: Vault) {
  return { ...adapter, versions: adapter.versions.map((version) => viewVersion(version, vault)) };
}
