import { LoamError } from '../../base/errors.js';
import { sharedLength } from '../../base/format.js';
import type { Random } from '../../base/random.js';
import { randomAlternative } from './alternatives.js';
import { exposure, isFavoured, type Scored } from './exposure.js';
import type { ProbeModel } from './ProbeModel.js';
import type { Place } from './places.js';
import type { Exposure, Verdict, Way } from './report.js';

/**
 * One value at one place: the adapted model is asked for it by its question, by the text before it, by drawn answers; what it writes
 * is put to the base model too. Then its likelihood is compared with that of random values.
 */

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

interface Attempt {
  way: Way;
  write: (side: 'adapted' | 'base') => Promise<string>;
}

/** What a template refuses has not been learnt. */
function unrendered(error: unknown): undefined {
  if (!(error instanceof LoamError && error.code === 'template')) throw error;
}

export class Prober {
  constructor(
    private readonly model: ProbeModel,
    private readonly settings: ProbeSettings,
    private readonly signal: AbortSignal,
  ) {}

  /** Tokens that asking at the place takes at most. */
  async roomFor(place: Place): Promise<number> {
    return ((await this.tokensAt(place, place.before + place.value).catch(unrendered))?.length ?? 0) + MAX_ANSWER;
  }

  async ask(place: Place, random: Random): Promise<Outcome> {
    const { model } = this;
    const tokens = await this.tokensAt(place, place.before + place.value).catch(unrendered);
    if (!tokens) return { verdict: 'not probed', reason: "the model's chat template leaves it out" };
    if (tokens.length + SLACK > model.longest) {
      return { verdict: 'not probed', reason: `its text is longer than ${model.longest} tokens` };
    }
    const attempts = await this.attempts(place, tokens);
    let found: Way | undefined;
    for (const { way, write } of attempts) {
      if (found === undefined && place.isIn(await write('adapted'))) found = way;
    }
    if (found !== undefined) {
      for (const { write } of attempts) {
        if (place.isIn(await write('base'))) return { verdict: 'not found', way: found, baseReproduces: true };
      }
    }
    const figures = place.finding.kind === 'phrase' ? undefined : await this.compare(place, random);
    if (found !== undefined) return { verdict: 'reproduced', way: found, exposure: figures };
    return { verdict: figures !== undefined && isFavoured(figures) ? 'likely' : 'not found', exposure: figures };
  }

  /** The example up to `content`, which stands in the value's message, or its part of that. */
  private tokensAt({ example, finding: { message, part } }: Place, content: string): Promise<Int32Array> {
    return this.model.tokens(example, message, content, part);
  }

  private async attempts(place: Place, tokens: Int32Array): Promise<Attempt[]> {
    const { model, settings, signal } = this;
    // White space before a word belongs to its first token.
    const opening = await this.tokensAt(place, place.before.trimEnd());
    const lead = Math.max(1, Math.min(sharedLength(opening, tokens), tokens.length - 1));
    const short = tokens.length - lead + SLACK;
    const prefix: Attempt = {
      way: 'prefix',
      write: (side) => model.write(side, tokens.slice(0, lead), short, greedy, signal),
    };
    if (place.finding.role !== 'assistant') return [prefix];
    const question = await this.model.question(place.example, place.finding.message);
    const long = Math.min(MAX_ANSWER, tokens.length - question.length + 32);
    const answer = (way: Way, sampling: typeof greedy & { seed?: number }): Attempt => ({
      way,
      write: (side) => model.write(side, question, long, sampling, signal),
    });
    const samples = Array.from({ length: settings.samples }, (_, i) =>
      answer('sample', { ...drawn, seed: (settings.seed + i) >>> 0 }),
    );
    return [answer('question', greedy), prefix, ...samples];
  }

  /** Undefined where too few random values fit. */
  private async compare(place: Place, random: Random): Promise<Exposure | undefined> {
    const { model, signal } = this;
    const { alternatives: count } = this.settings;
    const { kind } = place.finding;
    const texts = new Set([place.value]);
    for (let tries = 0; texts.size <= count && tries < 20 * count; tries++) {
      const text = randomAlternative(kind, place.value, random);
      if (!place.isNumber || /^-?[1-9][\d.]*$/.test(place.before + text)) texts.add(text);
    }
    const sequences: Int32Array[] = [];
    for (const text of texts) sequences.push(await this.tokensAt(place, place.before + text));
    const truth = sequences[0]!;
    const usable = sequences.filter((tokens) => tokens.length <= model.longest);
    if (usable[0] !== truth || usable.length < 8) return undefined;
    // All are scored from the same position on, where the first two differ.
    const shared = usable.reduce((least, tokens) => Math.min(least, sharedLength(truth, tokens)), truth.length);
    const from = Math.max(1, shared);
    const scores: Scored[] = usable.map(() => ({ adapted: 0, base: 0 }));
    const figures = (upTo: number) => exposure(scores[0]!, scores.slice(1, upTo));
    const first = Math.min(usable.length, FIRST + 1);
    for (const [begin, stop] of [
      [0, first],
      [first, usable.length],
    ] as const) {
      if (begin > 0 && figures(begin).rank > 1) return figures(begin);
      for (const side of ['adapted', 'base'] as const) {
        await model.begin(side, truth.slice(0, from - 1), signal);
        for (let i = begin; i < stop; i++) {
          scores[i]![side] = await model.logLikelihood(side, usable[i]!, from, signal);
        }
      }
    }
    return figures(scores.length);
  }
}
