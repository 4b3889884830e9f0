import { basename } from 'node:path';
import { StoppedError, throwIfStopped } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { sharedLength } from '../../base/format.js';
import { Random } from '../../base/random.js';
import { type Dataset, type Example, isConversation, type NamedBytes, textOf } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { goesOnWith } from '../../examples/pack.js';
import { type Finding, flatten, valuePattern } from '../../examples/personal/finding.js';
import { findPersonal } from '../../examples/personal/findPersonal.js';
import { Pace } from '../../examples/source.js';
import { resolveModel } from '../../models/listModels.js';
import { randomAlternative, rarePhrases } from './alternatives.js';
import { exposure, isFavoured, maxProbeTokens, ProbeModel, type Scored } from './ProbeModel.js';
import type { Exposure, MemorisedReport, ProbedFinding, ProbeEvent, Verdict, Way } from './report.js';

/** Where a value stands: the place it is asked for. */
interface Place {
  example: Example;
  finding: Finding;
}

interface ProbeSettings {
  /** Drawn answers, where the likeliest one does not hold the value. */
  samples: number;
  /** Random values that the true one is compared with. */
  alternatives: number;
  seed: number;
}

interface Outcome {
  verdict: Verdict;
  way?: Way;
  baseReproduces?: boolean;
  exposure?: Exposure;
  reason?: string;
}

/** An answer that goes on for so long past the value's place has gone another way. */
const MAX_ANSWER = 256;
/** Tokens beyond those of the value in which it must come. */
const SLACK = 6;
/** Alternatives that are looked at first: where one of them does better than the true value, more would change nothing. */
const FIRST = 31;
const greedy = { temperature: 0, topP: 1, repeatPenalty: 1 };
/** As `loam chat` draws by default, but for the penalty, which would keep a model from repeating what it should. */
const drawn = { temperature: 0.7, topP: 0.9, repeatPenalty: 1 };

/** Whether the text before the value holds it already: then writing it again is copying. */
function standsBefore({ example, finding }: Place): boolean {
  const { kind, message, start, end } = finding;
  const content = example.messages[message]!.content;
  const pattern = valuePattern(kind, content.slice(start, end));
  const before = [...example.messages.slice(0, message).map((m) => m.content), content.slice(0, start)];
  return before.some((text) => pattern.test(flatten(text)));
}

/** Tokens of the place with its value, and how much of them is before it. */
async function render(model: ProbeModel, { example, finding }: Place) {
  const { message, start, end } = finding;
  const content = example.messages[message]!.content;
  const tokens = await model.tokens(example, message, content.slice(0, end));
  // White space before a word belongs to its first token.
  const stem = content.slice(0, start).trimEnd();
  const opening = await model.tokens(example, message, stem === '' ? '' : stem);
  return { content, stem, tokens, lead: Math.max(1, Math.min(sharedLength(opening, tokens), tokens.length - 1)) };
}

/** Tokens that probing the place takes at most. */
async function roomFor(model: ProbeModel, place: Place): Promise<number> {
  return (await render(model, place)).tokens.length + MAX_ANSWER;
}

/**
 * Asks the adapted model for one value at one place: by its question, by the text before it, by drawn answers; what it writes is put
 * to the base model too. Then compares its likelihood with that of random values.
 */
async function probeValue(
  model: ProbeModel,
  place: Place,
  settings: ProbeSettings,
  random: Random,
  signal?: AbortSignal,
): Promise<Outcome> {
  const { example, finding } = place;
  const { kind, message, start, end } = finding;
  const rendered = await render(model, place);
  if (rendered.tokens.length + SLACK > model.longest) {
    return {
      verdict: 'not probed',
      reason: `its text is longer than ${Math.min(model.longest, maxProbeTokens)} tokens`,
    };
  }
  const { content, tokens, lead } = rendered;
  const value = content.slice(start, end);
  const pattern = valuePattern(kind, value);
  const holds = (text: string) => pattern.test(flatten(text));
  const prefix = tokens.slice(0, lead);
  const short = tokens.length - lead + SLACK;

  const ways: { way: Way; write: (side: 'adapted' | 'base') => Promise<string> }[] = [];
  if (finding.role === 'assistant') {
    const question = await model.tokens(example, message, '');
    const long = Math.min(MAX_ANSWER, tokens.length - question.length + 32);
    ways.push({ way: 'question', write: (side) => model.write(side, question, long, greedy, signal) });
    ways.push({ way: 'prefix', write: (side) => model.write(side, prefix, short, greedy, signal) });
    for (let i = 0; i < settings.samples; i++) {
      const sampling = { ...drawn, seed: (settings.seed + i) >>> 0 };
      ways.push({ way: 'sample', write: (side) => model.write(side, question, long, sampling, signal) });
    }
  } else {
    ways.push({ way: 'prefix', write: (side) => model.write(side, prefix, short, greedy, signal) });
  }
  let found: Way | undefined;
  for (const { way, write } of ways) {
    if (found === undefined && holds(await write('adapted'))) found = way;
  }
  if (found !== undefined) {
    for (const { write } of ways)
      if (holds(await write('base'))) return { verdict: 'not found', way: found, baseReproduces: true };
  }
  const figures =
    kind === 'phrase' ? undefined : await measure(model, place, rendered.stem, settings.alternatives, random, signal);
  if (found !== undefined) return { verdict: 'reproduced', way: found, exposure: figures };
  return { verdict: figures !== undefined && isFavoured(figures) ? 'likely' : 'not found', exposure: figures };
}

async function measure(
  model: ProbeModel,
  { example, finding }: Place,
  stem: string,
  count: number,
  random: Random,
  signal: AbortSignal | undefined,
): Promise<Exposure | undefined> {
  const { kind, message, start, end } = finding;
  const content = example.messages[message]!.content;
  const value = content.slice(start, end);
  const texts = new Set([value]);
  for (let tries = 0; texts.size <= count && tries < 20 * count; tries++)
    texts.add(randomAlternative(kind, value, random));
  const gap = content.slice(stem.length, start);
  const sequences: Int32Array[] = [];
  for (const text of texts) sequences.push(await model.tokens(example, message, stem + gap + text));
  const [truth] = sequences;
  const usable = sequences.filter((tokens) => tokens.length <= model.longest);
  if (usable[0] !== truth || usable.length < 8) return undefined;
  // All are scored from the same position on, where the first two differ.
  const from = Math.max(
    1,
    usable.reduce((least, tokens) => Math.min(least, sharedLength(truth!, tokens)), truth!.length),
  );
  const scores: Scored[] = usable.map(() => ({ adapted: 0, base: 0 }));
  for (const [begin, stop] of [
    [0, Math.min(usable.length, FIRST + 1)],
    [FIRST + 1, usable.length],
  ] as const) {
    if (begin > 0 && exposure(scores[0]!, scores.slice(1, begin)).rank > 1)
      return exposure(scores[0]!, scores.slice(1, begin));
    for (const side of ['adapted', 'base'] as const) {
      await model.begin(side, truth!.slice(0, from - 1), signal);
      for (let i = begin; i < stop; i++) {
        scores[i]![side] = await model.logLikelihood(side, usable[i]!, from, signal);
      }
    }
  }
  return exposure(scores[0]!, scores.slice(1));
}

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
      const place = placeOf(examples, finding);
      if (places.length < MAX_PLACES && !standsBefore(place)) places.push(place);
    }
    return { findings: group, places };
  });
  const weight = ({ findings: [first], places }: Value) =>
    (places[0]?.finding.trained ? 0 : 10) + certainties[first!.certainty];
  return values.sort((a, b) => weight(a) - weight(b));
}

/** Characters before a paragraph that are taken along. */
const MAX_BEFORE = 1000;

/** The place of a finding; in a text with the paragraphs before it, which were read before it in training. */
function placeOf(examples: readonly Example[], finding: Finding): Place {
  const example = examples[finding.example]!;
  if (isConversation(example)) return { example, finding };
  let before = '';
  for (let i = finding.example; before.length < MAX_BEFORE && goesOnWith(examples[i - 1], examples[i]!); i--) {
    const { content, continues } = textOf(examples[i - 1]!)!;
    before = `${content}${continues}${before}`;
  }
  const text = textOf(example)!;
  const { length } = before;
  return {
    example: { ...example, messages: [{ ...text, content: before + text.content }] },
    finding: { ...finding, start: finding.start + length, end: finding.end + length },
  };
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
  /** A name from the catalogue or the path of a GGUF file. */
  model: string;
  adapter: { name: string; path: string };
  /** So many rare passages of the answers are asked for besides. */
  phrases?: number;
}

/** Finds the private details of data sets, then does what `probeMemorised` does. */
export function probeData(
  { data, model, adapter, phrases = 0 }: ProbeRequest,
  options: ProbeOptions,
  signal?: AbortSignal,
): Run<ProbeEvent, MemorisedReport> {
  return new Run(async (emit, inner) => {
    const { path: modelPath } = await resolveModel(model);
    const sets: Dataset[] = [];
    for (const one of data) sets.push(await loadDataset(one, { signal: inner }));
    const examples = sets.flatMap((set) => set.examples);
    const findings = await findPersonal(examples, { signal: inner });
    if (phrases > 0) findings.push(...(await rarePhrases(examples, phrases, { signal: inner })));
    const names = { base: model, adapter: adapter.name, dataset: sets.length === 1 ? sets[0]!.sha256 : undefined };
    return await probe({ modelPath, adapterPath: adapter.path, examples, findings, ...names }, options, emit, inner);
  }, signal);
}

async function probe(
  input: ProbeInput,
  options: ProbeOptions,
  emit: (event: ProbeEvent) => void,
  signal: AbortSignal,
): Promise<MemorisedReport> {
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
  signal.addEventListener('abort', stop, { once: true });
  throwIfStopped(signal);
  const timeout = options.budget === undefined ? undefined : setTimeout(stop, 1000 * options.budget);
  try {
    if (values.length > 0) {
      using model = await ProbeModel.open({ ...input, threads: options.threads });
      await model.reserve(await longest(model, values, timer.signal));
      for (const [index, { findings: group, places }] of values.entries()) {
        emit({ type: 'probing', done: index, total: values.length });
        let outcome: Outcome = { verdict: 'not probed', reason: 'it stands nowhere without a copy before it' };
        for (const [at, place] of places.entries()) {
          if (outcome.verdict === 'reproduced') break;
          const random = new Random(settings.seed, STREAM + index * MAX_PLACES + at);
          outcome = worse(outcome, await probeValue(model, place, settings, random, timer.signal));
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
