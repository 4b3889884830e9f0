import { basename } from 'node:path';
import { Pace } from '../data/pace.js';
import type { Example } from '../data/types.js';
import { StoppedError, throwIfStopped } from '../util/errors.js';
import { Random } from '../util/random.js';
import { ProbeModel } from './ProbeModel.js';
import { type Outcome, type Place, probeValue, roomFor, standsBefore } from './probeValue.js';
import type { Finding, MemorisedReport, ProbedFinding, ProbeEvent, Verdict } from './types.js';

export interface ProbeInput {
  modelPath: string;
  /** Left out, the base model is probed against itself, and nothing can be found. */
  adapterPath?: string;
  /** What the adapter was tuned on; findings are of this list. */
  examples: readonly Example[];
  findings: readonly Finding[];
  /** Names for the report; default: those of the files. */
  base?: string;
  adapter?: string;
  /** SHA-256 of the file of examples. */
  dataset?: string;
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

const certainties = { certain: 0, likely: 1, possible: 2 };
const order: Verdict[] = ['reproduced', 'likely', 'not found', 'not probed'];
/** A value is asked for at one place at most of each kind of message: more places cost time and seldom tell more. */
const MAX_PLACES = 2;
/** Mixes the value's place into the seed, so that a budget that ends early changes no figure of those before. */
const STREAM = 0x70726f62;

/** Findings of one value with the places where to ask for it, the most telling first. */
interface Value {
  findings: Finding[];
  places: Place[];
}

function valuesOf(examples: readonly Example[], findings: readonly Finding[]): Value[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = `${finding.kind} ${finding.number}`;
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const values = [...groups.values()].map((group): Value => {
    const ranked = [...group].sort((a, b) => Number(b.trained) - Number(a.trained));
    const places: Place[] = [];
    for (const finding of ranked.slice(0, 50)) {
      const place = { example: examples[finding.example]!, finding };
      if (places.length < MAX_PLACES && !standsBefore(place)) places.push(place);
    }
    return { findings: group, places };
  });
  const weight = ({ findings: [first], places }: Value) =>
    (places[0]?.finding.trained ? 0 : 10) + certainties[first!.certainty];
  return values.sort((a, b) => weight(a) - weight(b));
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

/**
 * Finds out which values of the training examples an adapter gives away: each is asked for with the adapter and, as a control,
 * without. Runs in libllama, off the event loop. Findings of equal values share one outcome.
 * @throws StoppedError when `signal` fires; a budget that ends is no error
 */
export async function* probeMemorised(
  input: ProbeInput,
  options: ProbeOptions = {},
  signal?: AbortSignal,
): AsyncGenerator<ProbeEvent, MemorisedReport, void> {
  const started = performance.now();
  const { examples, findings } = input;
  const settings = {
    samples: options.samples ?? 3,
    alternatives: options.alternatives ?? 127,
    seed: options.seed ?? 1,
  };
  const outcomes = new Map<Finding, Outcome>();
  const values = valuesOf(examples, findings);
  const timer = new AbortController();
  const stop = () => timer.abort();
  signal?.addEventListener('abort', stop, { once: true });
  throwIfStopped(signal);
  const timeout = options.budget === undefined ? undefined : setTimeout(stop, 1000 * options.budget);
  try {
    if (values.length > 0) {
      using model = await ProbeModel.open({ ...input, threads: options.threads });
      await model.reserve(await longest(model, values, timer.signal));
      for (const [index, { findings: group, places }] of values.entries()) {
        yield { type: 'probing', done: index, total: values.length };
        let outcome: Outcome = { verdict: 'not probed', reason: 'it stands nowhere without a copy before it' };
        for (const [at, place] of places.entries()) {
          if (outcome.verdict === 'reproduced') break;
          const random = new Random(settings.seed, STREAM + index * MAX_PLACES + at);
          outcome = worse(outcome, await probeValue(model, place, settings, random, timer.signal));
        }
        for (const finding of group) {
          outcomes.set(finding, outcome);
          yield { type: 'probed', ...probed(finding, outcome) };
        }
      }
    }
  } catch (error) {
    // Of the two that fire the timer's signal, only the caller's is a reason to end without a report.
    if (!(error instanceof StoppedError) || signal?.aborted) throw error;
  } finally {
    clearTimeout(timeout);
    signal?.removeEventListener('abort', stop);
  }
  const results = findings.map((finding) =>
    probed(finding, outcomes.get(finding) ?? { verdict: 'not probed', reason: 'the time was up' }),
  );
  const count = (verdict: Verdict) => results.filter((result) => result.verdict === verdict).length;
  const verdicts = Object.fromEntries(order.map((verdict) => [verdict, count(verdict)])) as Record<Verdict, number>;
  return {
    type: 'memorised',
    version: 1,
    dataset: input.dataset,
    base: input.base ?? basename(input.modelPath),
    adapter: input.adapter ?? (input.adapterPath === undefined ? '' : basename(input.adapterPath)),
    findings: findings.length,
    probed: findings.length - verdicts['not probed'],
    verdicts,
    seconds: (performance.now() - started) / 1000,
    results: results.sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict)),
  };
}

/** Tokens that the longest place takes. */
async function longest(model: ProbeModel, values: readonly Value[], signal: AbortSignal): Promise<number> {
  const pace = new Pace(signal);
  let most = 0;
  for (const { places } of values) {
    for (const place of places) most = Math.max(most, await roomFor(model, place));
    if (pace.due) await pace.rest();
  }
  return most;
}
