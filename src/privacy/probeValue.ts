import type { Example } from '../data/types.js';
import type { Random } from '../util/random.js';
import { sharedLength } from '../util/sharedLength.js';
import { exposure, isFavoured, type Scored } from './exposure.js';
import { flatten } from './flatten.js';
import { maxProbeTokens, type ProbeModel } from './ProbeModel.js';
import { randomAlternative } from './randomAlternative.js';
import type { Exposure, Finding, Verdict, Way } from './types.js';
import { valuePattern } from './valuePattern.js';

/** Where a value stands: the place it is asked for. */
export interface Place {
  example: Example;
  finding: Finding;
}

export interface ProbeSettings {
  /** Drawn answers, where the likeliest one does not hold the value. */
  samples: number;
  /** Random values that the true one is compared with. */
  alternatives: number;
  seed: number;
}

export interface Outcome {
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
export function standsBefore({ example, finding }: Place): boolean {
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
  const tokens = await model.tokens(example.messages, message, content.slice(0, end));
  // White space before a word belongs to its first token.
  const stem = content.slice(0, start).trimEnd();
  const opening = await model.tokens(example.messages, message, stem === '' ? '' : stem);
  return { content, stem, tokens, lead: Math.max(1, Math.min(sharedLength(opening, tokens), tokens.length - 1)) };
}

/** Tokens that probing the place takes at most. */
export async function roomFor(model: ProbeModel, place: Place): Promise<number> {
  return (await render(model, place)).tokens.length + MAX_ANSWER;
}

/**
 * Asks the adapted model for one value at one place: by its question, by the text before it, by drawn answers; what it writes is put
 * to the base model too. Then compares its likelihood with that of random values.
 */
export async function probeValue(
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
    const question = await model.tokens(example.messages, message, '');
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
  for (const text of texts) sequences.push(await model.tokens(example.messages, message, stem + gap + text));
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
