import { LoamError } from '../../base/errors.js';
import { programPath } from '../../base/package.js';
import { type SentError, unpackError } from '../../base/process.js';
import type { Gguf } from '../../formats/gguf/Gguf.js';
import { askInTime, keptTrial, type TrialOptions, tryOnce } from '../trial.js';
import { sliceBytes } from './sliceFile.js';
import type { Survey } from './survey.js';

/** What is to be surveyed. */
export interface SurveyRequest {
  model: string;
  /** Where slices lie until libllama has opened them. */
  folder: string;
  threads: number;
  /** Tokens that whole and slices read (`surveyTokens`). */
  tokens: number;
}

export type SurveyReport =
  | { type: 'news'; reads: number }
  | { type: 'news'; known: Survey }
  | { type: 'surveyed'; survey: Survey }
  | { type: 'failed'; error: SentError };

const program = programPath('model/slices/surveyWorker.js');

/** Tokens that whole and slices read; so many behind a window. */
const tokensRead = 48;
const beyondWindow = 32;

/**
 * Tokens that a survey reads: more where a window could hide that a slice sees further, or less far.
 * @param need tokens of the longest sequence that will be read afterwards
 */
export function surveyTokens(gguf: Gguf, need: number): number {
  const window = gguf.number(`${gguf.string('general.architecture')}.attention.sliding_window`, 0);
  return window > 0 && window < need ? window + beyondWindow : tokensRead;
}

/** A slow card writes and reads 10 MB in a second; a slow processor takes a token through a gigabyte of weights in one. */
const readingMs = (bytes: number, tokens: number) => 10_000 + bytes / 10_000 + (tokens * bytes) / 1e6;

/**
 * `surveyModel` in a process of its own, once for each file. Some architectures end the process when rows instead of tokens are read, or
 * when layers stand apart from the others: that is a reason not to cut them, and nothing else.
 * @param need tokens of the longest sequence that will be read
 * @throws what `surveyModel` throws; LoamError (unsupported) where libllama ended the process before, or did not come to an end; StoppedError
 */
export async function surveyApart(
  gguf: Gguf,
  need: number,
  { folder, threads }: Pick<SurveyRequest, 'folder' | 'threads'>,
  options: TrialOptions = {},
): Promise<Survey> {
  const what = (tokens: number) => `survey of ${tokens} tokens`;
  // A survey that has read further serves whoever reads less.
  const longest = await keptTrial([gguf.path], what(surveyTokens(gguf, Number.POSITIVE_INFINITY)), options);
  if (longest !== undefined) return JSON.parse(longest) as Survey;
  const tokens = surveyTokens(gguf, need);
  const request: SurveyRequest = { model: gguf.path, folder, threads, tokens };
  let uncut: Survey | undefined;
  let death: LoamError | undefined;
  const survey = async () => {
    const found = await askInTime(program, request, {
      answerOf: (report: SurveyReport, limit) => {
        if (report.type === 'failed') throw unpackError(report.error);
        if (report.type === 'surveyed') return report.survey;
        if ('known' in report) uncut = report.known;
        else limit(readingMs(sliceBytes(gguf, report.reads), tokens));
        return undefined;
      },
      died: (how) => (death = notFollowed(gguf.path, how)),
      signal: options.signal,
    });
    return JSON.stringify(found);
  };
  try {
    return JSON.parse(await tryOnce([gguf.path], what(tokens), options, survey)) as Survey;
  } catch (error) {
    // It may have been for want of memory: the next time it is tried again.
    if (uncut && error === death) return uncut;
    throw error;
  }
}

const notFollowed = (where: string, how: string): LoamError =>
  new LoamError({
    code: 'unsupported',
    found: `the process that looked how layers of this model lead into the residual stream ${how}`,
    expected: 'a model whose forward pass can be followed',
    where,
    fix: 'choose another model; with LOAM_NATIVE_LOG=1 it says more',
  });
