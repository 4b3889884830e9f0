import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { floatsToHalves } from '../base/floats.js';
import { Random } from '../base/random.js';
import { findPython } from '../testing/python.js';
import { scratchFolder } from '../testing/scratch.js';
import { arrayBytes, type Dtype, dtypeNames, type NdArray, ndArray, toFloat32 } from './arrays.js';
import { readNpy, writeNpy } from './npy.js';
import { openNpz, writeNpz } from './npz.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';

/** What numpy and the safetensors library write is read here, and the other way round. */

const folder = scratchFolder();
const numpy = findPython('numpy');
const library = findPython('numpy', 'safetensors');
const skip = (python: typeof numpy) => ({ skip: typeof python === 'string' && python });
const random = new Random(6);

const numpyNames: Record<string, string> = {
  f64: 'float64',
  f32: 'float32',
  f16: 'float16',
  i64: 'int64',
  i32: 'int32',
  i16: 'int16',
  i8: 'int8',
  u64: 'uint64',
  u32: 'uint32',
  u16: 'uint16',
  u8: 'uint8',
  bool: 'bool',
};

function samples(dtypes: readonly Dtype[]): (NdArray & { name: string })[] {
  return dtypes.flatMap((dtype) =>
    [[], [0], [7], [3, 4], [2, 3, 2]].map((shape) => {
      const data = new Uint8Array(arrayBytes({ dtype, shape })).map(() => random.below(dtype === 'bool' ? 2 : 256));
      return { name: `${dtype}_${shape.join('x')}`, dtype, shape, data };
    }),
  );
}

const numpyDtypes = dtypeNames.filter((dtype) => dtype in numpyNames);

/** Python that prints an array as JSON: type, shape, bytes in hexadecimal. */
const describe = `
import json, sys, numpy as np
def show(a): return [str(a.dtype), list(a.shape), np.ascontiguousarray(a).tobytes().hex()]
`;

const shown = ({ dtype, shape, data }: NdArray) => [numpyNames[dtype], shape, Buffer.from(data).toString('hex')];

it('numpy reads what Loam writes', skip(numpy), async () => {
  const arrays = samples(numpyDtypes);
  const expected = Object.fromEntries(arrays.map((array) => [array.name, shown(array)]));
  for (const options of [{}, { compress: true }, { zip64From: 0 }, { zip64From: 0, compress: true }]) {
    const path = join(folder, 'ours.npz');
    await writeNpz(path, arrays, options);
    const script = `${describe}
import zipfile
assert zipfile.ZipFile(sys.argv[1]).testzip() is None
with np.load(sys.argv[1]) as z: print(json.dumps({k: show(z[k]) for k in z.files}))`;
    if (typeof numpy !== 'string') assert.deepEqual(JSON.parse(await numpy.run(script, path)), expected);
  }
  for (const array of arrays) await writeNpy(join(folder, `${array.name}.npy`), array);
  const script = `${describe}
print(json.dumps({n: show(np.load(sys.argv[1] + '/' + n + '.npy', mmap_mode='r' if n[-1] != '0' else None)) for n in sys.argv[2:]}))`;
  if (typeof numpy !== 'string') {
    const names = arrays.filter(({ shape }) => shape.length > 0).map(({ name }) => name);
    const got = JSON.parse(await numpy.run(script, folder, ...names)) as Record<string, unknown>;
    for (const name of names) assert.deepEqual(got[name], expected[name], name);
  }
});

it('Loam reads what numpy writes, Fortran order and big endian included', skip(numpy), async () => {
  if (typeof numpy === 'string') return;
  const script = `${describe}
rng = np.random.default_rng(0)
out = {}
for name in ${JSON.stringify(Object.values(numpyNames))}:
    for shape in [(), (0,), (5,), (3, 4), (2, 3, 4)]:
        raw = rng.integers(0, 2 if name == 'bool' else 256, size=shape + (np.dtype(name).itemsize,), dtype=np.uint8)
        a = np.frombuffer(raw.tobytes(), dtype=name).reshape(shape)
        key = name + '_' + 'x'.join(map(str, shape))
        out[key] = a
        out[key + '_F'] = np.asfortranarray(a)
        out[key + '_big'] = a.astype(a.dtype.newbyteorder('>'))
        out[key + '_Fbig'] = np.asfortranarray(a.astype(a.dtype.newbyteorder('>')))
np.savez(sys.argv[1] + '/plain.npz', **out)
np.savez_compressed(sys.argv[1] + '/packed.npz', **out)
for v in (1, 2, 3):
    with open(sys.argv[1] + f'/v{v}.npy', 'wb') as f: np.lib.format.write_array(f, np.arange(12, dtype='<i4').reshape(3, 4), version=(v, 0))
print(json.dumps({k: show(a.astype(a.dtype.newbyteorder('='))) for k, a in out.items()}))`;
  const expected = JSON.parse(await numpy.run(script, folder)) as Record<string, unknown>;
  for (const name of ['plain.npz', 'packed.npz']) {
    await using file = await openNpz(join(folder, name));
    assert.deepEqual([...file.arrays.keys()].sort(), Object.keys(expected).sort());
    for (const key of file.arrays.keys()) assert.deepEqual(shown(await file.read(key)), expected[key], key);
  }
  const counting = ndArray(
    Int32Array.from({ length: 12 }, (_, i) => i),
    [3, 4],
  );
  for (const version of [1, 2, 3])
    assert.deepEqual(shown(await readNpy(join(folder, `v${version}.npy`))), shown(counting));
});

it('f16 is rounded as numpy rounds', skip(numpy), async () => {
  if (typeof numpy === 'string') return;
  // Bits at random reach every exponent; the range of halves is tried more densely.
  const bits = Uint32Array.from({ length: 200_000 }, (_, i) => {
    const any = Math.floor(random.uniform() * 2 ** 32);
    return i % 2 ? any : (any & 0x807fffff) | ((100 + random.below(46)) << 23);
  });
  const values = new Float32Array(bits.buffer);
  await writeNpy(join(folder, 'f32.npy'), ndArray(values));
  const script = `
import sys, numpy as np
np.seterr(all='ignore')
np.save(sys.argv[1] + '/f16.npy', np.load(sys.argv[1] + '/f32.npy').astype(np.float16))`;
  await numpy.run(script, folder);
  const theirs = toFloat32(await readNpy(join(folder, 'f16.npy')));
  const ours = toFloat32({ dtype: 'f16', shape: [values.length], data: new Uint8Array(floatsToHalves(values).buffer) });
  for (const [i, x] of ours.entries()) assert.ok(Object.is(x, theirs[i]), `${values[i]}: ${x}, numpy ${theirs[i]}`);
});

it('the safetensors library reads what Loam writes, and the other way round', skip(library), async () => {
  if (typeof library === 'string') return;
  const arrays = samples(numpyDtypes);
  const bf16 = samples(['bf16']);
  const path = join(folder, 'ours.safetensors');
  await writeSafetensors(path, [...arrays, ...bf16], [['format', 'pt']]);
  const script = `${describe}
from safetensors import safe_open, deserialize, serialize_file
from safetensors.numpy import load_file, save_file
raw = dict(deserialize(open(sys.argv[1], 'rb').read()))
with safe_open(sys.argv[1], 'np') as f:
    assert f.metadata() == {'format': 'pt'}
    out = {k: show(f.get_tensor(k)) for k in f.keys() if not k.startswith('bf16')}
    save_file({k: f.get_tensor(k) for k in out}, sys.argv[2], metadata={'made': 'by them'})
for k, v in raw.items():
    if k.startswith('bf16'): out[k] = [v['dtype'], v['shape'], bytes(v['data']).hex()]
print(json.dumps(out))`;
  const theirs = join(folder, 'theirs.safetensors');
  const got = JSON.parse(await library.run(script, path, theirs)) as Record<string, unknown>;
  const expected = Object.fromEntries(arrays.map((array) => [array.name, shown(array)]));
  for (const array of bf16) expected[array.name] = ['BF16', array.shape, Buffer.from(array.data).toString('hex')];
  assert.deepEqual(got, expected);
  await using file = await openSafetensors(theirs);
  assert.deepEqual([...file.metadata], [['made', 'by them']]);
  assert.equal(file.tensors.size, arrays.length);
  for (const array of arrays) assert.deepEqual(shown(await file.read(array.name)), shown(array));
});
