import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { LoamError } from '../base/errors.js';
import { buildZip, type Member } from '../testing/buildZip.js';
import { scratchFolder } from '../testing/scratch.js';
import { ndArray } from './arrays.js';
import { encodeNpyHeader, readNpy } from './npy.js';
import { openNpz } from './npz.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';
import { openSafetensorsFolder } from './safetensorsFolder.js';

/** Files that lie: each is refused with a sentence, before anything of the size it claims is allocated. */

const folder = scratchFolder();

function npy(header: string, data = Buffer.alloc(0), version = 1): Buffer {
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write('\x93NUMPY', 'latin1');
  head.writeUInt8(version, 6);
  if (version === 1) head.writeUInt16LE(header.length, 8);
  else head.writeUInt32LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header, 'latin1'), data]);
}
const dict = (descr: string, shape: string) => `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}, }\n`;

async function refuses(open: (path: string) => Promise<unknown>, bytes: Uint8Array, message: RegExp): Promise<void> {
  const path = join(folder, 'hostile');
  writeFileSync(path, bytes);
  await assert.rejects(open(path), (error) => {
    assert.ok(error instanceof LoamError, `${error}`);
    assert.match(error.message, message);
    return true;
  });
}

it('npy: lengths that lie, objects, texts, records and code are refused', async () => {
  const bytes = Buffer.alloc(8);
  const cases: [Buffer, RegExp][] = [
    [Buffer.alloc(0), /no npy file/],
    [Buffer.from('PK\x03\x04 something else'), /no npy file/],
    [npy(dict("'<f4'", '(2,)'), bytes).subarray(0, 20), /ends inside its header/],
    [npy(dict("'<f4'", '(2,)'), bytes.subarray(1)), /has 72 bytes|bytes, expected/],
    [npy(dict("'<f4'", '(1,)'), bytes), /expected \d+ for f32 \[1\]/],
    [npy(dict("'<f4'", '(4294967296, 4294967296)'), bytes), /product is beyond/],
    [npy(dict("'<f4'", '(4294967296, 4294967296, 0)'), bytes), /product is beyond/],
    [npy(dict("'<f4'", '(99999999999999999999,)'), bytes), /2\^53/],
    [npy(dict("'<f4'", '(9999999999999999,)'), bytes), /whole number|2\^53/],
    [npy(dict("'<f4'", '(-1,)'), bytes), /value of another kind/],
    [npy(dict("'<f4'", `(${'1,'.repeat(65)})`), bytes), /65 dimensions/],
    [npy(dict("'|O'", '(1,)'), bytes), /pickle/],
    [npy(dict("'<U2'", '(1,)'), bytes), /texts/],
    [npy(dict("'<c8'", '(1,)'), bytes), /complex/],
    [npy(dict("'<M8[ns]'", '(1,)'), bytes), /of type/],
    [npy(dict("[('a', '<f4'), ('b', '<f4')]", '(1,)'), bytes), /records/],
    [npy(dict("__import__('os').system('true')", '(1,)'), bytes), /cannot be read/],
    [npy(`${dict("'<f4'", '(2,)')}print()`, bytes), /cannot be read/],
    [npy("{'descr': '<f4', 'shape': (2,), }\n", bytes), /key is missing/],
    [npy("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes), /twice/],
    [npy(dict("'<f4'", '(2,)').padEnd(20_000), bytes, 2), /header of 20000 bytes/],
    [npy(dict("'<f4'", '(2,)'), bytes, 9), /version 9/],
  ];
  for (const [file, message] of cases) await refuses(readNpy, file, message);
});

const array = ndArray(Float32Array.of(1, 2, 3, 4), [4]);
const content = Buffer.concat([encodeNpyHeader(array), array.data]);
const member = (changes: Partial<Member> = {}): Member => ({ name: 'x.npy', data: content, ...changes });
const packed = (changes: Partial<Member> = {}) => member({ method: 8, ...changes });

async function readAll(path: string): Promise<void> {
  await using file = await openNpz(path);
  for (const name of file.arrays.keys()) await file.read(name);
}

it('npz: the builder of these tests makes archives that are read', async () => {
  const path = join(folder, 'good.npz');
  writeFileSync(path, buildZip([member(), packed({ name: 'y.npy' })]));
  await readAll(path);
});

it('npz: damaged, overlapping, doubled and encrypted members are refused', async () => {
  const flipped = Buffer.from(content);
  flipped[content.length - 1]! ^= 1;
  const good = buildZip([member(), packed({ name: 'y.npy' })]);
  const encrypted = buildZip([packed()]);
  for (let at = encrypted.indexOf('PK\x01\x02'); at >= 0; at = encrypted.indexOf('PK\x01\x02', at + 1))
    encrypted[at + 8]! |= 1;
  const cases: [Buffer, RegExp][] = [
    [Buffer.alloc(0), /archive cannot be read/],
    [good.subarray(0, good.length - 10), /archive cannot be read/],
    [good.subarray(100), /archive cannot be read|no header/],
    [encrypted, /encrypted/],
    [buildZip([member({ packed: flipped })]), /CRC-32/],
    [buildZip([packed({ crc: 1 })]), /CRC-32/],
    [buildZip([packed({ packed: content })]), /damaged|unpacks|no npy/],
    [buildZip([packed({ size: content.length - 4 })]), /expected 144|more than it states/],
    [buildZip([packed({ size: content.length + 4 })]), /expected 144|less than it states/],
    [buildZip([member({ name: 'readme.txt' })]), /no array/],
    [buildZip([member({ name: '../x.npy' })]), /archive cannot be read/],
    [buildZip([member(), member()]), /two members/],
    [buildZip([member(), member({ name: 'y.npy', directory: { offset: 0 } })]), /another name/],
    [buildZip([member({ directory: { offset: 7 } })]), /no header/],
    [buildZip([member({ directory: { packed: 1_000_000, size: 1_000_000 } })]), /beyond the end/],
    [buildZip([member({ directory: { size: 12 } })]), /archive cannot be read|differ/],
    [buildZip([packed({ directory: { size: 1e9 } })]), /cannot unpack to|unpack to more than/],
  ];
  for (const [file, message] of cases) await refuses(readAll, file, message);
});

it('npz: one piece of data under two names is refused as overlap', async () => {
  // The second local header lies inside the first member's data, as a quine bomb nests them.
  const [outer, inner] = ['a.npy', 'b.npy'];
  const headerBytes = 30 + inner.length;
  const nested = buildZip([member({ name: inner })]).subarray(0, headerBytes + content.length);
  const file = buildZip([
    member({ name: outer, data: nested }),
    member({ name: inner, directory: { offset: headerBytes } }),
  ]);
  await refuses(openNpz, file, /overlap/);
});

it('npz: a bomb is refused before it is unpacked', async () => {
  // True deflated data of 300 MB of zeros, a thousand times the file.
  const piece = deflateRawSync(Buffer.alloc(1e6), { finishFlush: constants.Z_FULL_FLUSH });
  const shape = [(300e6 - content.length) / 4];
  const head = deflateRawSync(encodeNpyHeader({ dtype: 'f32', shape }), { finishFlush: constants.Z_FULL_FLUSH });
  const zeros = Buffer.concat([head, ...Array<Buffer>(300).fill(piece), deflateRawSync('')]);
  await refuses(openNpz, buildZip([packed({ packed: zeros, size: 300e6 })]), /would unpack to more than 300\.0 MB/);
});

const safetensors = (header: string, data = Buffer.alloc(0), length = Buffer.byteLength(header)) => {
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(length));
  return Buffer.concat([head, Buffer.from(header), data]);
};

it('safetensors: headers that lie are refused', async () => {
  const data = Buffer.alloc(8);
  const one = (changes: object) => {
    const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...changes };
    return safetensors(JSON.stringify({ x: entry }), data);
  };
  const two = (a: number[], b: number[]) => {
    const entry = (offsets: number[]) => ({ dtype: 'U8', shape: [offsets[1]! - offsets[0]!], data_offsets: offsets });
    return safetensors(JSON.stringify({ x: entry(a), y: entry(b) }), data);
  };
  await openSafetensorsOf(one({}));
  await openSafetensorsOf(two([0, 5], [5, 8]));
  const cases: [Buffer, RegExp][] = [
    [Buffer.alloc(0), /only 0 bytes/],
    [Buffer.alloc(100), /header of 0 bytes/],
    [safetensors('{}', data, 2 ** 40), /header of 1,099,511,627,776 bytes/],
    [Buffer.from('ffffffffffffffff7b7d', 'hex'), /header of 18,446,744/],
    [safetensors('{}', data, 12), /header of 12 bytes in a file of 18/],
    [safetensors('[]', data), /begin with \{/],
    [safetensors('{"x"', data), /header, line 1/],
    [safetensors('{}', data), /8 bytes of data, expected 0/],
    [one({}).subarray(0, -1), /7 bytes of data, expected 8/],
    [one({ shape: [3] }), /expected 12 for f32 \[3\]/],
    [one({ shape: [2 ** 30, 2 ** 30] }), /product is beyond/],
    [one({ shape: [-2] }), /whole number/],
    [one({ shape: [2.5] }), /whole number/],
    [one({ shape: '2' }), /no shape/],
    [one({ dtype: 'F8_E4M3' }), /"F8_E4M3"/],
    [one({ dtype: '__proto__' }), /__proto__/],
    [one({ dtype: 1 }), /no dtype/],
    [one({ data_offsets: [0] }), /data_offsets/],
    [one({ data_offsets: [8, 0] }), /-8 bytes/],
    [one({ data_offsets: [8, 16] }), /after a hole/],
    [one({ extra: 1 }), /unknown key "extra"/],
    [two([0, 5], [4, 8]), /within another/],
    [two([0, 3], [4, 8]), /after a hole/],
    [two([0, 8], [0, 8]), /within another/],
    [safetensors('{"x":{"dtype":"U8","shape":[8],"data_offsets":[0,18014398509481984]}}', data), /2\^53/],
    [safetensors('{"x":{"dtype":"U8","shape":[8],"shape":[8],"data_offsets":[0,8]}}', data), /twice/],
    [safetensors('{"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"x":{}}', data), /twice/],
    [safetensors('{"__metadata__":{"a":1}}'), /object of texts/],
    [safetensors('{"__metadata__":[]}'), /object of texts/],
    [safetensors('{"__proto__":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', data), /8 bytes of data, expected 9/],
    [safetensors('{"x":null}', data), /no object/],
    [Buffer.from('04000000000000007bff7d20', 'hex'), /not UTF-8/],
  ];
  for (const [file, message] of cases) await refuses(openSafetensors, file, message);
});

async function openSafetensorsOf(bytes: Buffer): Promise<void> {
  const path = join(folder, 'good.safetensors');
  writeFileSync(path, bytes);
  await using file = await openSafetensors(path);
  assert.ok(file.tensors.size > 0);
}

it('safetensors: an index reaches nothing outside its folder and must be true', async () => {
  const at = join(folder, 'sharded');
  mkdirSync(at);
  await writeSafetensors(join(at, 'a.safetensors'), [{ name: 'x', ...array }]);
  const index = (content: string) => writeFileSync(join(at, 'model.safetensors.index.json'), content);
  const map = (weights: object) => index(JSON.stringify({ weight_map: weights }));
  const rejects = (message: RegExp) =>
    assert.rejects(openSafetensorsFolder(at), (e) => e instanceof LoamError && message.test(e.message));
  await rejects(/under other names only: "a\.safetensors".*name it model\.safetensors/);
  map({ x: 'a.safetensors' });
  await (await openSafetensorsFolder(at))[Symbol.asyncDispose]();
  map({ x: '../sharded/a.safetensors' });
  await rejects(/same folder/);
  map({ x: '/etc/passwd' });
  await rejects(/same folder/);
  map({ x: 7 });
  await rejects(/in no file/);
  map({ x: 'a.safetensors', y: 'a.safetensors' });
  await rejects(/"y" is not in/);
  map({ x: 'b.safetensors' });
  await rejects(/no file here/);
  index('{"weight_map": []}');
  await rejects(/no weight_map/);
  index('not json');
  await rejects(/index\.json, line 1/);
});

it('parts without an index are read if all are there', async () => {
  const at = join(folder, 'parts');
  mkdirSync(at);
  const part = (n: number, of: number, name: string) =>
    writeSafetensors(join(at, `model-0000${n}-of-0000${of}.safetensors`), [{ name, ...array }]);
  await part(1, 2, 'x');
  await assert.rejects(openSafetensorsFolder(at), /1 of 2 parts of the weights, and no index/);
  await part(2, 2, 'x');
  await assert.rejects(openSafetensorsFolder(at), /"x" in two parts/);
  await part(2, 2, 'y');
  {
    await using source = await openSafetensorsFolder(at);
    assert.deepEqual([...source.tensors.keys()], ['x', 'y']);
  }
  await part(1, 3, 'z');
  await assert.rejects(openSafetensorsFolder(at), /saved in 2 and in 3 parts, and no index/);
});

it('an index that lies is refused, or what the files hold counts', async () => {
  const at = join(folder, 'lies');
  mkdirSync(at);
  const file = (n: number, of = 2) => `model-0000${n}-of-0000${of}.safetensors`;
  const part = (n: number, ...names: string[]) =>
    writeSafetensors(
      join(at, file(n)),
      names.map((name) => ({ name, ...array })),
    );
  const map = (weights: object) =>
    writeFileSync(join(at, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weights }));
  await part(1, 'x', 'both');
  await part(2, 'y', 'unsaid', 'both');
  const held = async () => {
    await using source = await openSafetensorsFolder(at);
    return Object.fromEntries([...source.tensors].map(([name, tensor]) => [name, tensor.file]));
  };
  map({ x: file(1), both: file(2), y: file(2) });
  assert.deepEqual(await held(), { x: file(1), both: file(2), y: file(2), unsaid: file(2) });
  map({ x: file(2), both: file(1), y: file(1) });
  assert.deepEqual(await held(), { x: file(1), both: file(1), y: file(2), unsaid: file(2) }, 'in another file');
  map({ x: file(1), both: file(1), y: file(2), z: file(2) });
  await assert.rejects(held(), /"z" is not in .*fetch the model again/);
  map({ x: file(1), both: file(1) });
  await assert.rejects(held(), /an index that names 1 of 2 parts/);
  map({ x: file(1), y: file(2) });
  await assert.rejects(held(), /"both" in two parts/);
});

it('a folder with pickled weights only is refused with the way out', async () => {
  const at = join(folder, 'pickled');
  mkdirSync(at);
  writeFileSync(join(at, 'pytorch_model.bin'), '');
  await assert.rejects(openSafetensorsFolder(at), /pickled weights.*save_pretrained/);
});
