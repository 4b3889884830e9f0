import { LoamError } from '../base/errors.js';
import { endWithParent, packError } from '../base/process.js';
import { Device } from '../engine/engine.js';
import { areUsable, LlamaModel } from '../engine/llama.js';
import { native } from '../engine/native.js';
import { requireRightProducts } from '../engine/placement.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import type { ProofReport, ProofRequest } from './proof.js';

/**
 * A short-lived process that tries a model file in libllama: its tokeniser on some lines, its weights on some tokens. What no check
 * foresaw happens here, and ends this process and nothing else.
 */

/** Letters, digits, marks, white space and characters of several bytes; runs that a pattern may not be able to cut. */
const lines = [
  'Hello, world! It\u2019s 1234.5 o\u2019clock\n\n\t \u00e9\u00df \u6f22\u5b57 \u{1f642}\u200d \u0000\u0001\ufffd <s></s><unk><|im_start|>system\\x\\',
  ...['a', '1', ' ', '\n', '.', '\u00e9', '\u6f22', '\u{1f642}'].map((text) => text.repeat(2000)),
];

/** Tokens that are computed at once: the weights of every layer are multiplied. */
const tokensRead = 8;

const tell = (report: ProofReport) =>
  new Promise<void>((resolve) => {
    process.send!(report, undefined, undefined, () => resolve());
  });

function readTexts(vocabulary: Vocabulary): Int32Array {
  const read = lines.map((line) => {
    const tokens = vocabulary.tokenize(line, { special: true, bos: true });
    vocabulary.tokenize(line);
    vocabulary.text(tokens.subarray(0, 64), true);
    return tokens;
  });
  for (let token = 0; token < vocabulary.size; token++) if (vocabulary.isControl(token)) vocabulary.piece(token, true);
  return read[0]!;
}

async function prove({ model: path, adapter }: ProofRequest): Promise<void> {
  native();
  await tell({ type: 'vocabulary' });
  // With an adapter, the model has been tried before.
  if (adapter === undefined) {
    using model = await LlamaModel.load(path, { vocabularyOnly: true });
    readTexts(model.vocabulary);
    const { tensors } = await readGguf(path);
    requireRightProducts(
      Device.all().filter(({ kind }) => kind === 'cpu'),
      new Set([...tensors.values()].map(({ type }) => type)),
    );
  }
  await tell({ type: 'weights' });
  using model = await LlamaModel.load(path, { inPlace: true });
  const tokens = model.vocabulary.tokenize(lines[0]!, { bos: true }).slice(0, tokensRead);
  using context = await model.context({ contextLength: 64 });
  if (adapter !== undefined) context.setAdapters([{ adapter: await model.loadAdapter(adapter), scale: 1 }]);
  let finite = true;
  await context.decode(tokens.length > 0 ? tokens : Int32Array.of(0), 0, {
    wants: () => true,
    onLogits: (logits) => {
      finite &&= areUsable(logits);
    },
  });
  if (finite) return;
  throw new LoamError({
    code: 'damaged',
    found: 'what it predicts are no finite numbers',
    where: adapter ?? path,
    fix: 'fetch it again, or use another one',
  });
}

endWithParent();
process.on('message', (request: ProofRequest) => {
  void prove(request).then(
    () => tell({ type: 'proven' }),
    (error: unknown) => tell({ type: 'failed', error: packError(error) }),
  );
});
