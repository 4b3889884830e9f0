import type { Message } from '../data/types.js';
import { redact } from '../privacy/redact.js';
import { LoamError } from '../util/errors.js';
import type { DatasetInfo } from '../vault/types.js';
import { encodeDataset } from './DatasetViews.js';
import { HttpError } from './HttpError.js';
import { noteFindings } from './personalFindings.js';
import type { Services } from './Services.js';

export interface DatasetEdit {
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
