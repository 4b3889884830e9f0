import { LoamError } from '../base/errors.js';
import { count } from '../base/format.js';
import { type EncodedExamples, encodeExamples, limitAdvice, type Sequence } from '../examples/encode.js';
import { type Dataset, type Example, isConversation, type Message } from '../examples/example.js';
import { type DataSource, type DataSources, joinDatasets, listSources } from '../examples/joinDatasets.js';
import { loadDataset } from '../examples/loadDataset.js';
import { packTexts, recordList } from '../examples/pack.js';
import { removeOverlap, splitExamples } from '../examples/split.js';
import { fallbackTemplate, plainTemplate } from '../model/chatTemplate.js';
import type { Model } from '../model/model.js';
import type { Tokenizer } from '../model/tokenizer.js';
import type { TuneEvent } from './events.js';
import type { RunContext } from './lab.js';
import type { TuneOptions } from './options.js';

/** Files of examples, or their content under a name. */
export interface DataFiles {
  data: DataSources;
  heldout?: DataSource;
}

/** The user's examples as token sequences, by what they are used for. */
export interface PreparedData {
  train: Sequence[];
  validation: Sequence[];
  /** Empty without a held-out file. */
  heldout: Sequence[];
  /** Number in the user's file, from 0, of the record that each sequence comes from. */
  records: { train: number[]; validation: number[] };
  /** sha256 of the data files, hex. */
  hashes: { data: string; heldout?: string };
  examples: { train: number; validation: number; heldout: number };
  /** Whether any example is rendered by the chat template; else all are plain texts. */
  hasConversations: boolean;
  /** What the training examples have before the first question, each once, if all of them have something there. */
  beginnings: Beginning[];
  /** A few examples that are not learnt from, for answers before and after. */
  samples: Example[];
  /** What some of the training examples ask, spread over all of them; none of plain texts. */
  questions: string[];
}

/** A system message, and tools. */
interface Beginning {
  system?: Message;
  tools?: Example['tools'];
}

/** Examples kept as samples. */
const sampleCount = 4;
/** Enough to tell what they are about (see `subjectOf`). */
const questionCount = 64;

/** Share of the data held out for choosing, and for measuring if there is no held-out file. */
const validationShare = 0.1;
const minValidation = 4;
/** Examples named one by one in warnings; the rest is counted. */
const named = 3;

/** Loads, splits and encodes the data, telling of everything that is left out. */
export async function prepareData(
  { model, emit, signal }: { model: Pick<Model, 'hyper'> } & Omit<RunContext<TuneEvent>, 'model'>,
  tokenizer: Tokenizer,
  files: DataFiles,
  options: Pick<TuneOptions, 'maxTokens' | 'seed'> & Partial<Pick<TuneOptions, 'columns'>>,
): Promise<PreparedData> {
  const { contextLength } = model.hyper;
  const maxTokens = Math.min(options.maxTokens, contextLength);
  const warn = (message: string) => emit({ type: 'warning', message });
  const load = async (source: DataSource): Promise<Dataset> => {
    const dataset = await loadDataset(source, { signal, columns: options.columns });
    for (const problem of dataset.problems) emit({ type: 'problem', file: dataset.file, problem });
    return dataset;
  };
  const loaded: Dataset[] = [];
  for (const source of listSources(files.data)) loaded.push(await load(source));
  const { dataset: data, repeated } = joinDatasets(loaded);
  if (repeated > 0) warn(`${count(repeated)} examples are in several of the files and learnt once`);
  const heldout = files.heldout === undefined ? undefined : await load(files.heldout);
  const overlap = removeOverlap(data.examples, heldout?.examples ?? []);
  if (overlap.train.length === 0) {
    throw new LoamError({
      code: 'no-examples',
      found: 'every example is also in the held-out file',
      where: data.file,
      fix: 'give another file to --heldout, or none',
    });
  }
  for (const { reason } of overlap.removed.slice(0, named)) warn(`${data.file}: ${reason}; it is not trained on`);
  if (overlap.removed.length > named) {
    warn(`${count(overlap.removed.length - named)} more ask the same as held-out examples and are not trained on`);
  }
  const pack = async (examples: readonly Example[]): Promise<Example[]> => {
    const packed = await packTexts(tokenizer, examples, { maxTokens, signal });
    if (packed.remark) warn(packed.remark);
    return packed.examples;
  };
  const split = splitExamples(await pack(overlap.train), {
    fraction: validationShare,
    seed: options.seed,
    minValidation,
  });
  if (split.remark) warn(split.remark);
  if (split.moved.length > 0) {
    warn(`${count(split.moved.length)} examples that ask the same were kept on one side of the validation split`);
  }

  const advice = `shorten the examples or ${limitAdvice(maxTokens, contextLength)}`;
  const told = new Set<string>();
  const encode = async (examples: readonly Example[], what: string): Promise<Sequence[]> => {
    const encoded: EncodedExamples = await encodeExamples(tokenizer, examples, { maxTokens, signal });
    if (encoded.tooLong.length > 0) {
      const records = recordList(encoded.tooLong.map(({ example }) => examples[example]!));
      warn(
        `${count(encoded.tooLong.length)} of ${count(examples.length)} ${what} examples are longer than ${count(maxTokens)} tokens and are left out (${records}); ${advice}`,
      );
    }
    for (const remark of encoded.remarks.filter((one) => !told.has(one))) {
      told.add(remark);
      warn(remark);
    }
    for (const problem of encoded.refused) emit({ type: 'problem', file: examples[0]!.source.file, problem });
    return encoded.sequences;
  };
  const train = await encode(split.train, 'training');
  const validation = await encode(split.validation, 'validation');
  const heldoutExamples = await pack(heldout?.examples ?? []);
  const held = await encode(heldoutExamples, 'held-out');
  if (train.length === 0) {
    throw new LoamError({
      code: 'no-examples',
      found: `no training example fits into ${count(maxTokens)} tokens`,
      where: data.file,
      fix: advice,
    });
  }
  if (heldout && held.length === 0) {
    throw new LoamError({
      code: 'no-examples',
      found: `no held-out example fits into ${count(maxTokens)} tokens`,
      where: heldout.file,
      fix: advice,
    });
  }
  const hasConversations = data.examples.some(isConversation);
  if (!tokenizer.hasOwnTemplate && hasConversations) {
    const { source } = tokenizer.template;
    const assumed =
      source === fallbackTemplate
        ? 'ChatML, as llama.cpp does, is assumed'
        : source === plainTemplate
          ? 'and no tokens of a chat; "### Instruction:" and "### Response:" are put before the turns, which llama.cpp has to be told'
          : "its family's is assumed";
    warn(`the model file has no chat template; ${assumed}. A chat model usually learns faster`);
  }
  const examples = {
    train: split.train.length,
    validation: split.validation.length,
    heldout: heldoutExamples.length,
  };
  emit({
    type: 'data',
    file: data.file,
    examples: data.examples.length,
    ...examples,
    tokens: train.reduce((sum, { targets }) => sum + targets.length, 0),
  });
  const recordsOf = (sequences: readonly Sequence[], from: readonly Example[]) =>
    sequences.map(({ example }) => from[example]!.source.index);
  const unlearnt = heldout ? heldoutExamples : split.validation;
  return {
    train,
    validation,
    heldout: held,
    records: { train: recordsOf(train, split.train), validation: recordsOf(validation, split.validation) },
    hashes: { data: data.sha256, heldout: heldout?.sha256 },
    examples,
    hasConversations,
    beginnings: beginningsOf(split.train),
    samples: unlearnt.slice(0, sampleCount),
    questions: questionsOf(split.train),
  };
}

function questionsOf(examples: readonly Example[]): string[] {
  const all = examples.filter(isConversation).flatMap(({ messages }) => {
    const question = messages.findLast(({ role }) => role === 'user')?.content;
    return question?.trim() ? [question] : [];
  });
  const step = Math.max(1, all.length / questionCount);
  return Array.from({ length: Math.min(all.length, questionCount) }, (_, i) => all[Math.floor(i * step)]!);
}

function beginningsOf(examples: readonly Example[]): Beginning[] {
  const all = examples.map(({ messages: [first], tools }): Beginning => {
    return { system: first?.role === 'system' ? first : undefined, tools };
  });
  if (!all.every(({ system, tools }) => system ?? tools)) return [];
  return [...new Map(all.map((one) => [JSON.stringify([one.system?.content, one.tools]), one])).values()];
}
