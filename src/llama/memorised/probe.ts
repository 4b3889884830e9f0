import { basename } from 'node:path';
import { StoppedError, throwIfStopped } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { Random } from '../../base/random.js';
import type { Dataset, Example, NamedBytes } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import type { Finding } from '../../examples/personal/finding.js';
import { findPersonal } from '../../examples/personal/findPersonal.js';
import { Pace } from '../../examples/source.js';
import { provenModel } from '../../models/listModels.js';
import { rarePhrases } from './alternatives.js';
import { ProbeModel } from './ProbeModel.js';
import { MAX_PLACES, type Value, valuesOf } from './places.js';
import { type Outcome, Prober } from './probeValue.js';
import type { MemorisedReport, ProbedFinding, ProbeEvent, Verdict } from './report.js';

/** What an adapter gives away of the data that it has learnt from. */

export interface ProbeInput {
  modelPath: string;
  /** Left out, the base model is probed against itself, and nothing can be found. */
  adapterPath?: string;
  /** What the adapter was tuned on; findings are of this list. */
  examples: readonly Example[];
  findings: readonly Finding[];
  /** What an earlier probe of the same adapter and examples came to: these are not asked for again. */
  known?: readonly ProbedFinding[];
  /** For the report, in place of those of the files; `dataset`: the SHA-256 of the file of examples. */
  names?: Partial<Pick<MemorisedReport, 'base' | 'adapter' | 'dataset'>>;
}

export interface ProbeOptions {
  /** Seconds that it may take; what is left is reported as not probed. Default: no limit. */
  budget?: number;
  /** Drawn answers a value (default 3). */
  samples?: number;
  /** Random values to compare with (default 127: up to 7 bits of exposure). */
  alternatives?: number;
  seed?: number;
  threads?: number;
}

const order: Verdict[] = ['reproduced', 'likely', 'not found', 'not probed'];
/** Mixes the value's place into the seed, so that a budget that ends early changes no figure of those before. */
const STREAM = 0x70726f62;
const TIME_UP = 'the time was up';

/**
 * Finds out which values of the training examples an adapter gives away: each is asked for with the adapter and, as a control,
 * without. Runs in libllama, off the event loop. Findings of equal values share one outcome.
 * @throws StoppedError when `signal` fires; a budget that ends is no error
 */
export function probeMemorised(
  input: ProbeInput,
  options: ProbeOptions = {},
  signal?: AbortSignal,
): Run<ProbeEvent, MemorisedReport> {
  return new Run((emit, inner) => probe(input, options, emit, inner), signal);
}

/** What `probeData` searches, and which adapter it asks. */
export interface ProbeRequest {
  /** What the adapter has learnt from. */
  data: readonly (string | NamedBytes)[];
  /** Which of its fields are which (see `Columns`). */
  columns?: string;
  /** A name from the catalogue or the path of a GGUF file. */
  model: string;
  adapter: { name: string; path: string };
  /** So many rare passages of the answers are asked for besides. */
  phrases?: number;
  /** As in `ProbeInput`. */
  known?: readonly ProbedFinding[];
}

/** Finds the private details of data sets, then does what `probeMemorised` does. */
export function probeData(
  { data, columns, model, adapter, phrases = 0, known }: ProbeRequest,
  options: ProbeOptions,
  signal?: AbortSignal,
): Run<ProbeEvent, MemorisedReport> {
  return new Run(async (emit, inner) => {
    const { path: modelPath } = await provenModel(model, { signal: inner });
    const sets: Dataset[] = [];
    for (const one of data) sets.push(await loadDataset(one, { signal: inner, columns }));
    const examples = sets.flatMap((set) => set.examples);
    const personal = await findPersonal(examples, { signal: inner });
    const rare = phrases > 0 ? await rarePhrases(examples, phrases, { signal: inner }) : [];
    const findings = personal.concat(rare);
    const names = { base: model, adapter: adapter.name, dataset: sets.length === 1 ? sets[0]!.sha256 : undefined };
    const input = { modelPath, adapterPath: adapter.path, examples, findings, known, names };
    return await probe(input, options, emit, inner);
  }, signal);
}

async function probe(
  input: ProbeInput,
  options: ProbeOptions,
  emit: (event: ProbeEvent) => void,
  signal: AbortSignal,
): Promise<MemorisedReport> {
  const started = performance.now();
  const { examples, findings, modelPath, adapterPath, known = [], names = {} } = input;
  const settings = {
    samples: options.samples ?? 3,
    alternatives: options.alternatives ?? 127,
    seed: options.seed ?? 1,
  };
  const outcomes = new Map<Finding, Outcome>();
  const values = valuesOf(examples, findings);
  const before = new Map(known.map((one) => [keyOf(one), outcomeOf(one)]));
  const told = (group: readonly Finding[]) =>
    group.map((one) => before.get(keyOf(one))).find((one) => one !== undefined);
  const timer = new AbortController();
  const stop = () => timer.abort();
  signal.addEventListener('abort', stop, { once: true });
  throwIfStopped(signal);
  const timeout = options.budget === undefined ? undefined : setTimeout(stop, 1000 * options.budget);
  try {
    const open = values.filter((value) => !told(value.findings));
    for (const { findings: group } of values) {
      for (const finding of told(group) ? group : []) outcomes.set(finding, told(group)!);
    }
    if (open.length > 0) {
      using model = await ProbeModel.open({ modelPath, adapterPath, threads: options.threads });
      const prober = new Prober(model, settings, timer.signal);
      await model.reserve(await longest(prober, open, timer.signal));
      for (const [index, { findings: group, places }] of values.entries()) {
        emit({ type: 'probing', done: index, total: values.length });
        if (told(group)) continue;
        let outcome: Outcome = { verdict: 'not probed', reason: 'it stands nowhere without a copy before it' };
        for (const [at, place] of places.entries()) {
          if (outcome.verdict === 'reproduced') break;
          const random = new Random(settings.seed, STREAM + index * MAX_PLACES + at);
          outcome = worse(outcome, await prober.ask(place, random));
        }
        for (const finding of group) {
          outcomes.set(finding, outcome);
          emit({ type: 'probed', ...probed(finding, outcome) });
        }
      }
    }
  } catch (error) {
    // Of the two that fire the timer's signal, only the caller's is a reason to end without a report.
    if (!(error instanceof StoppedError) || signal.aborted) throw error;
  } finally {
    clearTimeout(timeout);
    signal.removeEventListener('abort', stop);
  }
  const results = findings.map((finding) =>
    probed(finding, outcomes.get(finding) ?? { verdict: 'not probed', reason: TIME_UP }),
  );
  const count = (verdict: Verdict) => results.filter((result) => result.verdict === verdict).length;
  const verdicts = Object.fromEntries(order.map((verdict) => [verdict, count(verdict)])) as Record<Verdict, number>;
  return {
    type: 'memorised',
    version: 1,
    dataset: names.dataset,
    base: names.base ?? basename(modelPath),
    adapter: names.adapter ?? (adapterPath === undefined ? '' : basename(adapterPath)),
    findings: findings.length,
    probed: findings.length - verdicts['not probed'],
    verdicts,
    left: results.filter(({ reason }) => reason === TIME_UP).length,
    seconds: (performance.now() - started) / 1000,
    results: results.sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict)),
  };
}

/** Tokens that the longest place takes. */
async function longest(prober: Prober, values: readonly Value[], signal: AbortSignal): Promise<number> {
  const pace = new Pace(signal);
  let most = 0;
  for (const { places } of values) {
    for (const place of places) most = Math.max(most, await prober.roomFor(place));
    if (pace.due) await pace.rest();
  }
  return most;
}

/** A finding in the examples, which is the same as long as these are. */
function keyOf({ id, example }: { id: string; example: number }): string {
  return `${example} ${id}`;
}

function outcomeOf({ verdict, way, baseReproduces, exposure, reason }: ProbedFinding): Outcome {
  return { verdict, way, baseReproduces, exposure, reason };
}

/** The worse of two outcomes for the person whose data it is. */
function worse(a: Outcome, b: Outcome): Outcome {
  return order.indexOf(b.verdict) < order.indexOf(a.verdict) ? b : a;
}

function probed(finding: Finding, { verdict, way, baseReproduces, exposure, reason }: Outcome): ProbedFinding {
  const { id, kind, label, certainty, example, line, record, number, preview, trained } = finding;
  const place = { id, kind, label, certainty, example, line, record, number, preview, trained };
  return { ...place, verdict, way, baseReproduces, exposure, reason };
}
