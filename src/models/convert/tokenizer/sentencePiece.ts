import { LoamError } from '../../../base/errors.js';
import { count } from '../../../base/format.js';
import type { JsonValue } from '../../../base/json.js';
import { at, flagAt, idAt, isObject, listAt, textAt } from '../../../base/jsonAccess.js';
import { limits } from '../../../families/huggingFace.js';
import type { HfFolder } from '../hfFolder.js';
import { TokenTable, tokenType, type Vocabulary } from './vocabulary.js';

/** Values of SentencePiece's `Type` (sentencepiece_model.proto): the same numbers as GGUF's token types. */
interface Piece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

/** Fields of ModelProto and its SentencePiece, by number. */
const fields = { pieces: 1, text: 1, score: 2, type: 3 } as const;

/** Wire types of protocol buffers. */
const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Of a varint or a fixed32, as its bits; 0 otherwise. */
  readonly value: number;
  readonly bytes: Buffer;
}

const nothing = Buffer.alloc(0);

/** The fields of one message. Throws RangeError where it ends too early or has what protocol buffers do not have. */
function* readFields(message: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message.readUInt8(at++);
      // Beyond 2^53 rounded: too long for anything here.
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number without end');
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case wire.varint:
        yield { number, wire: wire.varint, value: varint(), bytes: nothing };
        break;
      case wire.fixed32:
        yield { number, wire: wire.fixed32, value: message.readUInt32LE(at), bytes: message.subarray(at, at + 4) };
        at += 4;
        break;
      case wire.fixed64:
        message.readDoubleLE(at);
        at += 8;
        break;
      case wire.bytes: {
        const length = varint();
        if (length > message.length - at) throw new RangeError('a field that is longer than the rest');
        yield { number, wire: wire.bytes, value: 0, bytes: message.subarray(at, at + length) };
        at += length;
        break;
      }
      default:
        throw new RangeError('a field of an unknown kind');
    }
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readPiece(message: Buffer): Piece {
  let text = '';
  let score = 0;
  let type = 1;
  for (const field of readFields(message)) {
    if (field.number === fields.text && field.wire === wire.bytes) text = decoder.decode(field.bytes);
    if (field.number === fields.score && field.wire === wire.fixed32) score = field.bytes.readFloatLE(0);
    if (field.number === fields.type && field.wire === wire.varint) type = field.value;
  }
  return { text, score, type };
}

/**
 * Reads the pieces of a SentencePiece model (tokenizer.model), in the order of their ids.
 * @throws LoamError for a file that is none
 */
export function readSentencePiece(bytes: Uint8Array, where: string): Piece[] {
  const pieces: Piece[] = [];
  try {
    for (const field of readFields(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))) {
      if (field.number !== fields.pieces || field.wire !== wire.bytes) continue;
      if (pieces.length >= limits.vocabulary) {
        throw new LoamError({ code: 'too-large', found: `more than ${count(limits.vocabulary)} pieces`, where });
      }
      pieces.push(readPiece(field.bytes));
    }
  } catch (cause) {
    if (cause instanceof LoamError) throw cause;
    throw new LoamError(
      { code: 'damaged', found: 'this is damaged or no SentencePiece model', where, fix: 'download it again' },
      { cause },
    );
  }
  if (pieces.length > 0) return pieces;
  throw new LoamError({ code: 'damaged', found: 'no pieces', expected: 'a SentencePiece model', where });
}

/**
 * The vocabulary of a folder with tokenizer.model: its pieces, then what added_tokens.json and tokenizer_config.json put in their
 * places. As llama.cpp's converter builds it (base.py, _create_vocab_sentencepiece).
 * @param size of the vocabulary as config.json says; ids without a piece are padding
 * @param asMarked added tokens are special where they are marked so, whatever they look like, and those of tokenizer.json count too
 */
export function sentencePieceVocabulary(
  folder: HfFolder,
  sentencePiece: Uint8Array,
  size: number,
  asMarked = false,
): Vocabulary {
  const pieces = readSentencePiece(sentencePiece, `${folder.path}/tokenizer.model`);
  const table = new TokenTable(size);
  for (const [id, { text, score, type }] of pieces.entries()) {
    // What a piece of the user's is to SentencePiece, is a normal one here: only added tokens are the user's.
    table.put(id, text, type === tokenType.userDefined ? tokenType.normal : type, score);
  }
  for (const [text, id] of folder.addedTokens ?? []) {
    if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0) table.put(id, text, tokenType.userDefined);
  }
  const putAdded = (id: number | undefined, token: JsonValue) => {
    const text = textAt(token, 'content');
    if (id === undefined || text === undefined) return;
    const special = flagAt(token, 'special') ?? false;
    if (asMarked) table.put(id, text, special ? tokenType.control : tokenType.userDefined);
    else table.putAdded(id, text, special);
  };
  const decoder = at(folder.tokenizerConfig, 'added_tokens_decoder');
  for (const [key, token] of isObject(decoder) ? decoder : []) {
    putAdded(/^\d{1,9}$/.test(key) ? Number(key) : undefined, token);
  }
  if (asMarked) for (const token of listAt(folder.tokenizer, 'added_tokens')) putAdded(idAt(token, 'id'), token);
  const { tokens, types, scores } = table;
  return { model: 'llama', pre: 'default', tokens, types, scores };
}
