import { readGguf } from '../formats/gguf/readGguf.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { Tokenizer } from '../model/tokenizer.js';
import { encodeExamples, histogram, type Sequence } from './encode.js';
import type { Example, Problem } from './example.js';
import { packTexts } from './pack.js';

export interface PreviewRequest {
  /** Path of the model file. */
  model: string;
  examples: readonly Example[];
  /** Examples shown in full. */
  show: number;
  maxTokens: number;
}

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
  /** Those that the chat template refuses, and why. */
  refused: Problem[];
  /** As `EncodedExamples`. */
  remarks: string[];
  /** Texts that are longer than the limit and learnt in parts. */
  divided: { index: number; line: number }[];
  usable: number;
  /** What is learnt at once: neighbouring paragraphs of a text are. */
  sequences: number;
  trainedTokens: number;
  /** The limit that holds: what was asked for, or what the model was trained to read. */
  maxTokens: number;
  contextLength: number;
  histogram: { from: number; to: number; count: number }[];
}

/** Renders and encodes examples as tuning would. */
export async function previewExamples(request: PreviewRequest, signal?: AbortSignal): Promise<ExamplePreview> {
  const gguf = await readGguf(request.model);
  const { contextLength } = readHyperparameters(gguf);
  const maxTokens = Math.min(request.maxTokens, contextLength);
  using tokenizer = await Tokenizer.open(gguf);
  const { examples, divided } = await packTexts(tokenizer, request.examples, { maxTokens, signal });
  const { sequences, tooLong, refused, remarks } = await encodeExamples(tokenizer, examples, { maxTokens, signal });
  const place = ({ source: { index, line } }: Example) => ({ index, line });
  return {
    examples: sequences.slice(0, request.show).map((sequence) => ({
      ...place(examples[sequence.example]!),
      tokens: sequence.tokens.length,
      trained: sequence.targets.length,
      pieces: piecesOf(tokenizer, sequence),
    })),
    tooLong: tooLong.map(({ example, tokens }) => ({ ...place(examples[example]!), tokens })),
    divided: divided.map(place),
    refused,
    remarks,
    usable: request.examples.length - tooLong.length - refused.length,
    sequences: sequences.length,
    trainedTokens: sequences.reduce((sum, { targets }) => sum + targets.length, 0),
    maxTokens,
    contextLength,
    histogram: histogram(sequences.map(({ tokens }) => tokens.length)),
  };
}

/** The text in runs that are learnt or not: tokens of a run are decoded together, because a character may span tokens. */
function piecesOf(tokenizer: Tokenizer, sequence: Sequence): { text: string; trained: boolean }[] {
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
