import { createHash } from 'node:crypto';
import { LoamError } from '../base/errors.js';
import { type Gguf, openTensors } from '../formats/gguf/Gguf.js';
import { keys, type Notes, textNote } from './lora.js';

/** Whether a model file holds the model that an adapter was made for, whatever types its matrices have been quantised to. */

/** sha256 of what every file of one model has alike, hex. */
export interface Fingerprints {
  /** Architecture, all tokens, and the norms, which every quantiser leaves in f32. A fine-tune has others. */
  readonly whole: string;
  /** Architecture and norms. */
  readonly weights: string;
  /** The tokens of texts: all but those that control, or that nothing uses, whose names tools change; these count by their place alone. */
  readonly vocabulary: string;
}

/** `enum llama_token_type`: unknown, control, unused. */
const nameless: ReadonlySet<number | undefined> = new Set([2, 3, 5]);
const unused = 5;

export async function fingerprints(gguf: Gguf): Promise<Fingerprints> {
  const [whole, weights, vocabulary] = [createHash('sha256'), createHash('sha256'), createHash('sha256')];
  const architecture = `${gguf.string('general.architecture')}\n`;
  whole.update(architecture);
  weights.update(architecture);
  const listed = gguf.metadata.get('tokenizer.ggml.token_type');
  const types = listed?.type === 'array' ? (listed.value as ArrayLike<number>) : [];
  const tokens = gguf.strings('tokenizer.ggml.tokens', []);
  // Some converters fill up the table of embeddings to a round number of tokens.
  let used = tokens.length;
  while (used > 0 && types[used - 1] === unused) used--;
  for (const [id, token] of tokens.entries()) {
    whole.update(`${token}\n`);
    if (id < used) vocabulary.update(nameless.has(types[id]) ? '\n' : `${token}\n`);
  }
  await using file = await openTensors(gguf);
  // By name, because writers order tensors differently.
  for (const name of [...gguf.tensors.keys()].sort()) {
    const tensor = gguf.tensors.get(name)!;
    if (!name.endsWith('norm.weight') || tensor.shape.length !== 1 || tensor.type.name !== 'f32') continue;
    const bytes = await file.read(name);
    for (const hash of [whole, weights]) hash.update(`${name}\n`).update(bytes);
  }
  const hex = [whole, weights, vocabulary].map((hash) => hash.digest('hex')) as [string, string, string];
  return { whole: hex[0], weights: hex[1], vocabulary: hex[2] };
}

/**
 * Other names of tokens that no text consists of are no other model: whether a chat comes to the same tokens is the template's matter.
 * @throws LoamError if an adapter's notes say that it was made for another model
 */
export async function requireMadeFor(path: string, notes: Notes, { gguf }: { gguf?: Gguf }): Promise<void> {
  const wanted = textNote(notes, keys.baseFingerprint);
  if (!wanted || !gguf) return;
  const found = await fingerprints(gguf);
  if (wanted === found.whole) return;
  const weights = textNote(notes, keys.baseWeights);
  const sameWeights = weights === found.weights;
  if (sameWeights && textNote(notes, keys.baseVocabulary) === found.vocabulary) return;
  const name = textNote(notes, keys.baseName);
  const named = name ? ` (${name})` : '';
  throw new LoamError({
    code: 'mismatch',
    found: sameWeights
      ? `an adapter made for this model${named}, but for a file of it in which some tokens have other names`
      : weights === undefined
        ? `an adapter made for another base model${named}, or for a file of it in which a token has another name`
        : `an adapter made for another base model${named}`,
    expected: `one for ${gguf.path}`,
    where: path,
    fix: sameWeights
      ? 'choose the file it was made with, or another with the same tokens, with --model'
      : 'choose the base model it was made for with --model',
  });
}
