import { openBase } from '../../adapters/base.js';
import { encodeExamples, histogram, type Sequence } from '../../examples/encode.js';
import { Tokenizer } from '../../model/tokenizer.js';
import type { PreviewRequest } from './InferenceProcess.js';

/** What a model would learn from examples. Numbers are those of records. */
export interface ExamplePreview {
  examples: {
    index: number;
    line: number;
    tokens: number;
    trained: number;
    pieces: { text: string; trained: boolean }[];
  }[];
  tooLong: { index: number; line: number; tokens: number }[];
  usable: number;
  trainedTokens: number;
  maxTokens: number;
  histogram: { from: number; to: number; count: number }[];
}

/** Renders and encodes examples as tuning would. */
export async function previewExamples(request: PreviewRequest, signal?: AbortSignal): Promise<ExamplePreview> {
  const { gguf, hyper } = await openBase(request.model);
  const maxTokens = Math.min(request.maxTokens, hyper.contextLength);
  using tokenizer = await Tokenizer.open(gguf);
  const { examples } = request;
  const { sequences, tooLong } = await encodeExamples(tokenizer, examples, { maxTokens, signal });
  const where = (example: number) => {
    const { index, line } = examples[example]!.source;
    return { index, line };
  };
  return {
    examples: sequences.slice(0, request.show).map((sequence) => ({
      ...where(sequence.example),
      tokens: sequence.tokens.length,
      trained: sequence.targets.length,
      pieces: piecesOf(tokenizer, sequence),
    })),
    tooLong: tooLong.map(({ example, tokens }) => ({ ...where(example), tokens })),
    usable: examples.length - tooLong.length,
    trainedTokens: sequences.reduce((sum, { targets }) => sum + targets.length, 0),
    maxTokens,
    histogram: histogram(sequences.map(({ tokens }) => tokens.length)),
  };
}

/** The text in runs that are learnt or not: tokens of a run are decoded together, because a character may span tokens. */
export function piecesOf(tokenizer: Tokenizer, sequence: Sequence): { text: string; trained: boolean }[] {
  const trained = new Set(sequence.targets);
  const pieces: { text: string; trained: boolean }[] = [];
  let run: number[] = [];
  sequence.tokens.forEach((token, i) => {
    run.push(token);
    const last = i === sequence.tokens.length - 1;
    if (!last && trained.has(i + 1) === trained.has(i)) return;
    pieces.push({ text: tokenizer.vocabulary.text(run, true), trained: trained.has(i) });
    run = [];
  });
  return pieces;
}
