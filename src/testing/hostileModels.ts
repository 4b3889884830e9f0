import type { Random } from '../base/random.js';
import { type TensorTypeName, tensorTypes } from '../engine/tensorTypes.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { tensorBytes } from '../formats/gguf/rules.js';
import { f32s, type GgufElementType, type GgufValue, i32s, str, strings, u32 } from '../formats/gguf/values.js';
import { encodeGguf, type GgufToWrite, type TensorToWrite } from '../formats/gguf/writeGguf.js';
import { nativeParts } from '../model/nativeKeys.js';
import * as values from './ggufValues.js';

/** Model files that are wrong in what native code would trust: each starts from a whole tiny model. */

export interface Parts {
  metadata: Map<string, GgufValue>;
  tensors: TensorToWrite[];
}

/** A whole model taken apart, to be changed and put together again. */
export async function partsOf(path: string): Promise<Parts> {
  const gguf: Gguf = await readGguf(path);
  await using file = await openTensors(gguf);
  const tensors: TensorToWrite[] = [];
  for (const { name, type, shape } of gguf.tensors.values()) {
    tensors.push({ name, type, shape, data: await file.read(name) });
  }
  return { metadata: new Map(gguf.metadata), tensors };
}

const copy = ({ metadata, tensors }: Parts): Parts => ({ metadata: new Map(metadata), tensors: [...tensors] });

export const assemble = (parts: GgufToWrite): Promise<Uint8Array> => encodeGguf('hostile.gguf', parts);

/** The same tensor stored as another type, its blocks filled with a byte; undefined where its rows are no whole blocks. */
function asType(tensor: TensorToWrite, name: TensorTypeName): TensorToWrite | undefined {
  const type = tensorTypes[name];
  const bytes = tensorBytes(type, tensor.shape.map(BigInt));
  return typeof bytes === 'string' ? undefined : { ...tensor, type, data: new Uint8Array(bytes).fill(3) };
}

type Change = (parts: Parts) => void;

const set =
  (key: string, value: GgufValue): Change =>
  ({ metadata }) =>
    metadata.set(key, value);
const drop =
  (key: string): Change =>
  ({ metadata }) =>
    metadata.delete(key);
/** The first tensor whose name ends so, in any layer, as another type: families differ in which they have. */
const stored =
  (end: string, type: TensorTypeName): Change =>
  ({ tensors }) => {
    const at = tensors.findIndex(({ name }) => name.endsWith(end));
    tensors[at] = asType(tensors[at]!, type) ?? tensors[at]!;
  };

const T = (key: string) => `tokenizer.ggml.${key}`;
const fill = (n: number, text: (i: number) => string) => strings(Array.from({ length: n }, (_, i) => text(i)));

/** Pieces with a token for each byte, as SentencePiece has them. @param n tokens of the model */
export function pieces(n: number): Record<string, GgufValue> {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', '<s>', '</s>', ...bytes];
  while (tokens.length < n) tokens.push(`\u2581w${tokens.length}`);
  return {
    [T('model')]: str('llama'),
    [T('tokens')]: strings(tokens),
    [T('scores')]: f32s(tokens.map((_, i) => -i)),
    [T('token_type')]: i32s(tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))),
    [T('bos_token_id')]: u32(1),
    [T('eos_token_id')]: u32(2),
  };
}

/** What must be refused before native code sees it. @param n tokens @param a prefix of the family's keys */
export function hostileChanges(n: number, a: string): Readonly<Record<string, Change>> {
  const as =
    (change: Record<string, GgufValue>): Change =>
    (parts) => {
      for (const [key, value] of Object.entries(change)) parts.metadata.set(key, value);
    };
  const noByte = pieces(n)[T('tokens')] as ReturnType<typeof strings> & { value: string[] };
  return {
    'a norm as q8_1': stored('_norm.weight', 'q8_1'),
    'a norm as f16': stored('_norm.weight', 'f16'),
    'a norm as f64': stored('_norm.weight', 'f64'),
    'a matrix as f64': stored('ffn_up.weight', 'f64'),
    'a matrix as i8': stored('ffn_down.weight', 'i8'),
    'a matrix as i64': stored('attn_output.weight', 'i64'),
    'a matrix as q8_1': stored('ffn_down.weight', 'q8_1'),
    'embeddings as i32': stored('token_embd.weight', 'i32'),
    'embeddings as q8_1': stored('token_embd.weight', 'q8_1'),
    'all tokens the same': set(
      T('tokens'),
      fill(n, () => 'x'),
    ),
    'two tokens the same': set(
      T('tokens'),
      fill(n, (i) => `t${Math.max(1, i)}`),
    ),
    'two empty tokens, one of them by its stand-in': set(
      T('tokens'),
      fill(n, (i) => (i === 5 ? '' : i === 6 ? '[EMPTY_5]' : `t${i}`)),
    ),
    'a token too many': set(
      T('tokens'),
      fill(n + 1, (i) => `t${i}`),
    ),
    'a token too few': set(
      T('tokens'),
      fill(n - 1, (i) => `t${i}`),
    ),
    'no tokens': set(T('tokens'), strings([])),
    'tokens as numbers': set(T('tokens'), i32s(Array(n).fill(1))),
    'no list of tokens': drop(T('tokens')),
    'no kind of tokeniser': drop(T('model')),
    'a kind as a number': set(T('model'), u32(1)),
    'a kind that nobody knows': set(T('model'), str('nonsense')),
    'pieces without bytes': as({ [T('model')]: str('llama') }),
    'pieces, one byte missing': as({
      ...pieces(n),
      [T('tokens')]: strings(noByte.value.map((t) => (t === '<0x41>' ? 'aa' : t))),
    }),
    'pieces that begin with a token that is not there': as({ ...pieces(n), [T('bos_token_id')]: u32(n) }),
    'a score of NaN': as({ ...pieces(n), [T('scores')]: f32s(Array(n).fill(Number.NaN)) }),
    'scores too few': as({ ...pieces(n), [T('scores')]: f32s([0]) }),
    'scores of another type': as({ ...pieces(n), [T('scores')]: values.f64s(Array(n).fill(0)) }),
    'a byte token without a byte': as({ ...pieces(n), [T('token_type')]: i32s(Array(n).fill(6)) }),
    rwkv: as({ [T('model')]: str('rwkv'), [T('tokens')]: fill(n, (i) => ['\\x', '\\', '\\xZ'][i] ?? `t${i}`) }),
    t5: as({ [T('model')]: str('t5'), [T('precompiled_charsmap')]: values.u8s([255, 255, 255, 255, 0]) }),
    bert: set(T('model'), str('bert')),
    plamo2: set(T('model'), str('plamo2')),
    'no vocabulary': set(T('model'), str('no_vocab')),
    'merges absent': drop(T('merges')),
    'merges as numbers': set(T('merges'), i32s([1])),
    'a merge without a space': set(T('merges'), strings(['ab'])),
    'a merge of nothing': set(T('merges'), strings(['a '])),
    'token types too few': set(T('token_type'), i32s([1])),
    'token types as u8': set(T('token_type'), values.u8s(Array(n).fill(1))),
    'a token type of 99': set(T('token_type'), i32s(Array(n).fill(99))),
    'a first token as text': set(T('bos_token_id'), str('1')),
    'a first token as i32': set(T('bos_token_id'), values.i32(-1)),
    'an end that is not there': set(T('eos_token_id'), u32(n)),
    'an end as f32': set(T('eos_token_id'), values.f32(2)),
    'a flag as a number': set(T('add_bos_token'), u32(1)),
    'a cut as a number': set(T('pre'), u32(1)),
    'a template as a number': set('tokenizer.chat_template', u32(1)),
    'a token of 64 kB': set(
      T('tokens'),
      fill(n, (i) => (i === 0 ? '\u4e00'.repeat(22_000) : `t${i}`)),
    ),
    'tokens that are not bytes, spelled out': set(
      T('tokens'),
      fill(n, (i) => '\u4e00'.repeat(1000) + i),
    ),
    'as many layers as a u32 holds': set(`${a}.block_count`, u32(0xffff_ffff)),
    'sizes as i64': set(`${a}.embedding_length`, values.i64(64n)),
    'heads by layer, as floats': set(`${a}.attention.head_count_kv`, f32s([2, 2])),
    'heads by layer, too few': set(`${a}.attention.head_count_kv`, i32s([2])),
    'a context of nothing': set(`${a}.context_length`, u32(0)),
    'experts in use, and none there': set(`${a}.expert_used_count`, u32(2)),
    'attention to what comes': set(`${a}.attention.causal`, values.bool(false)),
    'an epsilon as u32': set(`${a}.attention.layer_norm_rms_epsilon`, u32(1)),
    'an epsilon of NaN': set(`${a}.attention.layer_norm_rms_epsilon`, values.f32(Number.NaN)),
    'a base of rotation of 0': set(`${a}.rope.freq_base`, values.f32(0)),
    'a scale whose inverse is infinite': set(`${a}.rope.scaling.factor`, values.f32(1e-42)),
    'a rotation of a kind that nobody knows': set(`${a}.rope.scaling.type`, str('nonsense')),
    'a rotation of odd width': set(`${a}.rope.dimension_count`, u32(15)),
    'more layers of another kind than layers': set(`${a}.posnet.block_count`, u32(99)),
    'layers that predict more': set(`${a}.nextn_predict_layers`, u32(9)),
    pooling: set(`${a}.pooling_type`, u32(4)),
    'a mapping of layers that are not there': set(`${a}.deepstack_mapping`, i32s([0, 0])),
    'labels as numbers, none of them': set(`${a}.classifier.output_labels`, f32s([])),
    'a file type as text': set('general.file_type', str('1')),
  };
}

/** A changed copy. */
export function changed(parts: Parts, change: Change): Parts {
  const own = copy(parts);
  change(own);
  return own;
}

const kinds: readonly GgufElementType[] = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'u64',
  'i64',
  'f64',
  'bool',
  'string',
];
const texts = [
  '',
  'x',
  ' ',
  '\u2581',
  '<0x41>',
  '<0x',
  '\\x',
  '<s>',
  '</s>',
  '\u0120a',
  '\ufffd',
  '\u{1f642}',
  'a b',
  'unused',
  '<|eot_id|>',
];
const numbers = [0, 1, 2, 3, 5, 16, 255, 256, 264, 265, 4096, -1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

function scalar(random: Random, kind: GgufElementType): GgufValue {
  const pick = <V>(list: readonly V[]): V => list[random.below(list.length)]!;
  const n = pick(numbers);
  if (kind === 'string') return str(pick(texts));
  if (kind === 'bool') return values.bool(random.below(2) === 1);
  if (kind === 'u64' || kind === 'i64')
    return { type: kind, value: kind === 'u64' ? BigInt.asUintN(64, BigInt(n)) : BigInt(n) };
  if (kind === 'f32' || kind === 'f64') {
    return {
      type: kind,
      value: Math.fround(pick([...numbers, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e-40, 3e38])),
    };
  }
  const { Elements } = {
    u8: { Elements: Uint8Array },
    i8: { Elements: Int8Array },
    u16: { Elements: Uint16Array },
    i16: { Elements: Int16Array },
    u32: { Elements: Uint32Array },
    i32: { Elements: Int32Array },
  }[kind];
  return { type: kind, value: Elements.of(n)[0]! } as GgufValue;
}

/** A model with one to three random changes of its metadata and types: keys, their types and values, elements of tables, tensors' types. */
export function mutated(random: Random, parts: Parts): Parts {
  const own = copy(parts);
  const pick = <V>(list: readonly V[]): V => list[random.below(list.length)]!;
  const changes: (() => void)[] = [
    () => own.metadata.delete(pick([...own.metadata.keys()])),
    () => own.metadata.set(pick([...own.metadata.keys()]), scalar(random, pick(kinds))),
    () => {
      // Any key that libllama knows, of a number or a list.
      const family = String(own.metadata.get('general.architecture')?.value);
      const key = `${family}.${pick([...nativeParts])}`;
      const list = random.below(4) === 0 ? pick([i32s([0, 0]), f32s([]), strings([])]) : undefined;
      own.metadata.set(key, list ?? scalar(random, pick(kinds)));
    },
    () => {
      // Another value of the same type.
      const key = pick([...own.metadata.keys()]);
      const { type } = own.metadata.get(key)!;
      if (type !== 'array') own.metadata.set(key, scalar(random, type));
    },
    () => {
      const lists = [...own.metadata].filter(([, value]) => value.type === 'array');
      if (lists.length === 0) return;
      const [key, list] = pick(lists) as [string, Extract<GgufValue, { type: 'array' }>];
      if (list.value.length === 0) return;
      const at = random.below(list.value.length);
      if (list.of === 'string')
        own.metadata.set(key, strings(list.value.with(at, pick([...texts, ...list.value.slice(0, 9)]))));
      else
        own.metadata.set(key, {
          ...list,
          value: (list.value as Int32Array).map((x, i) => (i === at ? pick(numbers) : x)),
        } as GgufValue);
    },
    () => {
      const lists = [...own.metadata].filter(([, value]) => value.type === 'array');
      if (lists.length === 0) return;
      const [key, list] = pick(lists) as [string, Extract<GgufValue, { type: 'array' }>];
      own.metadata.set(key, { ...list, value: list.value.slice(0, random.below(list.value.length + 1)) } as GgufValue);
    },
    () => {
      if (own.tensors.length === 0) return;
      const at = random.below(own.tensors.length);
      own.tensors[at] =
        asType(own.tensors[at]!, pick(Object.keys(tensorTypes) as TensorTypeName[])) ?? own.tensors[at]!;
    },
    () => {
      if (own.tensors.length === 0) return;
      const at = random.below(own.tensors.length);
      const tensor = own.tensors[at]!;
      if (random.below(2) === 0) own.tensors.splice(at, 1);
      else own.tensors[at] = { ...tensor, shape: [...tensor.shape].reverse() };
    },
  ];
  for (let i = random.below(3); i >= 0; i--) pick(changes)();
  return own;
}
