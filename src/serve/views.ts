import type { Static, TSchema } from 'typebox';
import Value from 'typebox/value';
import { type Dataset, type Example, isTrained, type Problem } from '../examples/example.js';
import { type Look, reasons } from '../examples/look.js';
import type { Finding } from '../examples/personal/finding.js';
import type { RefusedRecord } from '../examples/refused.js';
import type {
  Adapter as StoredAdapter,
  DatasetInfo as StoredDataset,
  AdapterVersion as StoredVersion,
} from '../store/types.js';
import type { Vault } from '../store/Vault.js';
import { type Adapter, type AdapterVersion, Memorised, VersionMetrics } from './contract/adapters.js';
import {
  type DatasetInfo,
  type DatasetLook,
  type ExampleFilter,
  type ExamplePage,
  FindingSummary,
  type Finding as FindingView,
  type RefusedPage,
} from './contract/datasets.js';
import { groupBy, toFields } from './datasets.js';

/** What the vault has of data sets and adapters, as the contract shows it. */

/** What the index keeps without knowing its form, if it has the form of a schema. */
function readAs<S extends TSchema>(schema: S, kept: unknown): Static<S> | undefined {
  return Value.Check(schema, kept) ? kept : undefined;
}

export function viewDataset(info: StoredDataset): DatasetInfo {
  return { ...info, excluded: info.excluded.length, findings: readAs(FindingSummary, info.findings) };
}

/** A version as the page shows it: data sets by name, or as deleted. */
export function viewVersion(version: StoredVersion, vault: Vault): AdapterVersion {
  const { lineage, run: _, ...own } = version;
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

/** What a version was found to have memorised; undefined if it has not been tested. */
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

/** Problems that an answer lists: a file of a million bad records has a million. */
const LISTED = 1000;

/** The first of them, those that cost a record before mere remarks. */
export function viewProblems(problems: readonly Problem[]): Problem[] {
  const listed: Problem[] = [];
  for (const wanted of ['error', 'warning']) {
    for (const { severity, kind, line, index, reason } of problems) {
      if (listed.length >= LISTED) return listed;
      if (severity === wanted) listed.push({ severity, kind, line, index, reason });
    }
  }
  return listed;
}

/** What a file would be learnt as. */
export function viewLook({ first, ...look }: Look): DatasetLook {
  return { ...look, first: first.map(toFields) };
}

/** Records that are listed to be repaired. */
const REFUSED = 200;

export function listRefused(
  { sha256 }: Pick<StoredDataset, 'sha256'>,
  { problems }: Dataset,
  refused: readonly RefusedRecord[],
): RefusedPage {
  const records = refused.slice(0, REFUSED).map(({ value: _, text, ...record }) => ({
    ...record,
    text: text.slice(0, SHOWN_TEXT),
  }));
  return { sha256, left: reasons(problems), total: refused.length, records };
}

/** Characters of a record that cannot be read that are shown. */
const SHOWN_TEXT = 2000;

/** A page of the examples of a data set. */
export function listExamples(
  info: StoredDataset,
  dataset: Dataset,
  found: readonly Finding[],
  { offset, limit, filter }: { offset: number; limit: number; filter: ExampleFilter },
): ExamplePage {
  const excluded = new Set(info.excluded);
  const problems = groupBy(dataset.problems, ({ index }) => index);
  const findings = groupBy(found, ({ record }) => record);
  const sets = {
    all: () => true,
    problems: ({ source }: Example) => problems.has(source.index),
    findings: ({ source }: Example) => findings.has(source.index),
    excluded: ({ source }: Example) => excluded.has(source.index),
  };
  const chosen = dataset.examples.filter(sets[filter]);
  const count = (name: keyof typeof sets) => dataset.examples.filter(sets[name]).length;
  return {
    total: chosen.length,
    sha256: info.sha256,
    examples: chosen.slice(offset, offset + limit).map((example) => {
      const { source } = example;
      const shown = toFields(example);
      return {
        index: source.index,
        line: source.line,
        excluded: excluded.has(source.index),
        ...shown,
        problems: (problems.get(source.index) ?? []).map(({ severity, kind, reason }) => ({ severity, kind, reason })),
        findings: (findings.get(source.index) ?? []).map((finding) => viewFinding(finding, !('messages' in shown))),
      };
    }),
    problems: viewProblems(dataset.problems),
    inAnswers: kindsInAnswers(dataset, found),
    counts: {
      all: dataset.examples.length,
      problems: dataset.problems.length,
      findings: count('findings'),
      excluded: count('excluded'),
    },
  };
}

function kindsInAnswers({ examples }: Dataset, found: readonly Finding[]): FindingView['kind'][] {
  const taught = found.filter(({ example, message }) => isTrained(examples[example]!.messages[message]!));
  return [...new Set(taught.map(({ kind }) => kind))];
}

/** A finding as the page shows it: in a field of the example if that is shown as fields. */
function viewFinding(finding: Finding, asFields: boolean): FindingView {
  const { id, kind, label, certainty, message, part, role, start, end, number, preview } = finding;
  const fields = { system: 'system', user: 'instruction', assistant: 'output', tool: 'tool', text: 'text' };
  const field = asFields ? fields[role] : `messages.${message}`;
  return { id, kind, label, certainty, field, message, ...(part && { part }), start, end, number, preview };
}
