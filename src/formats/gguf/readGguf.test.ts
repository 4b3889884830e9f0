import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError, UnsupportedError } from '../../base/errors.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import { le32, le64, parse, rawGguf, rawKey, rawText, refusal, withFile, withFolder } from '../../testing/rawGguf.js';
import { readGguf } from './readGguf.js';

const f32Bytes = (value: number): Uint8Array => new Uint8Array(Float32Array.of(value).buffer);
const f64Bytes = (value: number): Uint8Array => new Uint8Array(Float64Array.of(value).buffer);

async function failure(path: string): Promise<LoamError> {
  const error = await readGguf(path).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LoamError, `expected a LoamError, got ${error}`);
  assert.ok(error.message.startsWith(path), error.message);
  return error;
}

it('reads every type of value from hand-made bytes', async () => {
  const keys = [
    rawKey('a.u8', 0, Buffer.of(255)),
    rawKey('a.i8', 1, Buffer.of(255)),
    rawKey('a.u16', 2, Buffer.of(0xff, 0xff)),
    rawKey('a.i16', 3, Buffer.of(0xfe, 0xff)),
    rawKey('a.u32', 4, le32(0xffff_ffff)),
    rawKey('a.i32', 5, le32(0xffff_fffd)),
    rawKey('a.f32', 6, f32Bytes(1.5)),
    rawKey('a.bool', 7, Buffer.of(1)),
    rawKey('a.string', 8, rawText('Grüße 🌱')),
    rawKey('a.array', 9, le32(5), le64(2), le32(7), le32(0xffff_ffff)),
    rawKey('a.u64', 10, le64(2n ** 64n - 1n)),
    rawKey('a.i64', 11, le64(2n ** 64n - 2n)),
    rawKey('a.f64', 12, f64Bytes(0.1)),
    rawKey('a.strings', 9, le32(8), le64(3), rawText('x'), rawText(''), rawText('\ufeffy')),
    rawKey('a.bools', 9, le32(7), le64(2), Buffer.of(0, 1)),
    rawKey('a.none', 9, le32(10), le64(0)),
    rawKey('a.u64s', 9, le32(10), le64(1), le64(2n ** 63n)),
  ];
  const gguf = await parse(rawGguf({ keys }));
  assert.deepEqual(
    [...gguf.metadata],
    [
      ['a.u8', { type: 'u8', value: 255 }],
      ['a.i8', { type: 'i8', value: -1 }],
      ['a.u16', { type: 'u16', value: 65535 }],
      ['a.i16', { type: 'i16', value: -2 }],
      ['a.u32', { type: 'u32', value: 0xffff_ffff }],
      ['a.i32', { type: 'i32', value: -3 }],
      ['a.f32', { type: 'f32', value: 1.5 }],
      ['a.bool', { type: 'bool', value: true }],
      ['a.string', { type: 'string', value: 'Grüße 🌱' }],
      ['a.array', { type: 'array', of: 'i32', value: Int32Array.of(7, -1) }],
      ['a.u64', { type: 'u64', value: 2n ** 64n - 1n }],
      ['a.i64', { type: 'i64', value: -2n }],
      ['a.f64', { type: 'f64', value: 0.1 }],
      // The byte order mark is part of the text: vocabularies have a token for it.
      ['a.strings', { type: 'array', of: 'string', value: ['x', '', '\ufeffy'] }],
      ['a.bools', { type: 'array', of: 'bool', value: [false, true] }],
      ['a.none', { type: 'array', of: 'u64', value: new BigUint64Array() }],
      ['a.u64s', { type: 'array', of: 'u64', value: BigUint64Array.of(2n ** 63n) }],
    ],
  );
});

for (const version of [2, 3]) {
  it(`reads header and tensor table of v${version} from a file`, async () => {
    const bytes = rawGguf({
      version,
      keys: [rawKey('general.alignment', 4, le32(64))],
      tensors: [
        { name: 'a', dims: [2, 3], offset: 0 },
        { name: 'b', dims: [64, 2, 1, 1], type: 2, offset: 64 },
      ],
      alignment: 64,
      data: 64 + 4 * 18, // not padded at the end, as llama.cpp also accepts
    });
    await withFile(bytes, async (path) => {
      const gguf = await readGguf(path);
      assert.equal(gguf.path, path);
      assert.equal(gguf.version, version);
      assert.equal(gguf.size, bytes.length);
      assert.deepEqual(
        [...gguf.tensors.values()],
        [
          { name: 'a', type: tensorTypes.f32, shape: [2, 3], offset: 192, bytes: 24 },
          { name: 'b', type: tensorTypes.q4_0, shape: [64, 2, 1, 1], offset: 256, bytes: 72 },
        ],
      );
    });
  });
}

it('text that is not UTF-8 keeps its bytes', async () => {
  const bad = Buffer.of(0x61, 0xff, 0xc3);
  const replacement = Buffer.from('\ufffd'); // U+FFFD itself is UTF-8 and loses nothing
  const keys = [
    rawKey('s', 8, rawText(bad)),
    rawKey('a', 9, le32(8), le64(3), rawText('ok'), rawText(bad), rawText(replacement)),
  ];
  const gguf = await parse(rawGguf({ keys }));
  assert.deepEqual(gguf.metadata.get('s'), { type: 'string', value: 'a\ufffd\ufffd', raw: Uint8Array.from(bad) });
  assert.deepEqual(gguf.metadata.get('a'), {
    type: 'array',
    of: 'string',
    value: ['ok', 'a\ufffd\ufffd', '\ufffd'],
    raw: new Map([[1, Uint8Array.from(bad)]]),
  });
});

it('values longer than the read-ahead window', async () => {
  const long = 'é'.repeat(400_000);
  const pieces = Array.from({ length: 50_000 }, (_, i) => `piece ${i}`);
  const scores = Float32Array.from({ length: 100_000 }, (_, i) => i / 7);
  const keys = [
    rawKey('long', 8, rawText(long)),
    rawKey('pieces', 9, le32(8), le64(pieces.length), ...pieces.map(rawText)),
    rawKey('scores', 9, le32(6), le64(scores.length), new Uint8Array(scores.buffer)),
    rawKey('last', 4, le32(9)),
  ];
  const gguf = await parse(rawGguf({ keys, tensors: [{ name: 't', dims: [8], offset: 0 }], data: 32 }));
  assert.equal(gguf.string('long'), long);
  assert.deepEqual(gguf.strings('pieces'), pieces);
  assert.deepEqual(gguf.metadata.get('scores')!.value, scores);
  assert.equal(gguf.number('last'), 9);
  assert.equal(gguf.tensor('t').bytes, 32);
});

it('other versions and byte orders are refused by name', async () => {
  const of = async (version: number): Promise<LoamError> => refusal(rawGguf({ version }));
  for (const [version, words] of [
    [1, 'GGUF v1 file'],
    [4, 'GGUF v4 file'],
    [0x0300_0000, 'big-endian'],
    [0, 'GGUF v0 file'],
  ] as const) {
    const error = await of(version);
    assert.ok(error instanceof UnsupportedError);
    assert.ok(error.message.includes(words), error.message);
  }
});

it('a part of a split model is refused with the way to join it', async () => {
  const error = await refusal(rawGguf({ keys: [rawKey('split.count', 2, Buffer.of(3, 0))] }));
  assert.ok(error instanceof UnsupportedError);
  assert.match(error.message, /3 parts.*llama-gguf-split --merge/);
  await parse(rawGguf({ keys: [rawKey('split.count', 2, Buffer.of(1, 0))] }));
});

it('files of other kinds are recognised', async () => {
  const safetensors = Buffer.concat([le64(60), Buffer.from('{"__metadata__":{}}')]);
  const kinds: [Uint8Array | string, RegExp][] = [
    ['', /the file is empty.*download it again/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n', /Git LFS pointer.*git lfs pull/],
    ['\n  <!DOCTYPE html><html>', /web page/],
    ['<html lang="en">', /web page/],
    ['<?xml version="1.0"?><Error/>', /web page/],
    ['PK\x03\x04\x14\x00', /zip archive or a PyTorch checkpoint/],
    [safetensors, /safetensors.*loam convert/],
    [Buffer.of(0x80, 2, 0x7d), /pickle/],
    ['lmggx', /GGML file from before GGUF/],
    ['tjgg\x03\0\0\0', /GGML file from before GGUF/],
    ['FUGG\0\0\0\x03', /big-endian/],
    [Buffer.of(0x1f, 0x8b, 8), /compressed/],
    [Buffer.alloc(100), /zero bytes.*download it again/],
    ['{"error":"Repository not found"}', /JSON text(?!.*Repository)/],
    ['Invalid username or password.', /a text file(?!.*username)/],
    ['Ärztliches, privat', /a text file(?!.*rztlich)/],
    [Buffer.of(0x1b, 0x5b, 0x33, 0x31, 0x6d), /begins with the bytes 1b5b3331/],
  ];
  for (const [bytes, words] of kinds) {
    const error = await withFile(bytes, failure);
    assert.match(error.message, words);
  }
});

it('what is not a regular file is refused', async () => {
  await withFolder(async (folder) => {
    assert.match((await failure(join(folder, 'none.gguf'))).message, /no file here/);
    await mkdir(join(folder, 'sub'));
    assert.match((await failure(join(folder, 'sub'))).message, /folder/);
    assert.match((await failure(join(folder, 'x\0y'))).message, /cannot be read/);
  });
});

const pipeSkip = process.platform === 'win32' ? 'Windows has no named pipes in folders' : false;
it('a named pipe and a device are refused without waiting for them', { skip: pipeSkip }, async () => {
  await withFolder(async (folder) => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    assert.match((await failure(pipe)).message, /device, pipe or socket, expected a regular file/);
  });
  assert.match((await failure('/dev/null')).message, /device, pipe or socket/);
});
