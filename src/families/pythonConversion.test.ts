import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { Model } from '../model/model.js';
import { convertModel, Problems } from '../models/convert/convertModel.js';
import { readHfFolder } from '../models/convert/hfFolder.js';
import { encodeText } from '../models/convert/tokenizer/encodeText.js';
import { hashOf, knownTokenizers, testString } from '../models/convert/tokenizer/preTokenizer.js';
import { readAddedTokens } from '../models/convert/tokenizer/vocabulary.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { hfFolders } from '../testing/hfFolders.js';
import { meanKl } from '../testing/kl.js';
import { findPython } from '../testing/python.js';
import {
  computeLogits,
  findReference,
  folders,
  llamaSource,
  makeFolders,
  runReference,
} from '../testing/pythonFolders.js';
import { drain, scratchFolder } from '../testing/scratch.js';

/** Converted files are held, byte for byte, against those of llama.cpp's own converter; their logits against transformers'. */

const scratch = scratchFolder();
const reference = findReference();
const skip = { skip: typeof reference === 'string' && reference };

/** Folders with tokenizer.json of SentencePiece and no tokenizer.model are left out. */
const comparable = hfFolders.filter(({ pieces }) => !pieces).flatMap(({ names }) => names);
const preTokenizers = new Map(
  hfFolders.flatMap(({ names, pre }) => (pre ? names.map((name) => [name, pre] as const) : [])),
);
const types = ['auto', 'f32', 'f16', 'bf16', 'q8_0'] as const;

const source = (name: string) => join(scratch, name);
const theirs = (name: string, type: string) => join(scratch, `${name}.${type}.theirs.gguf`);
const ours = (name: string, type: string) => join(scratch, `${name}.${type}.ours.gguf`);

interface Told {
  hashes: Record<string, string>;
  failed: Record<string, string>;
}
interface Logits {
  /** Ids, and logits after each of them, in hexadecimal f32. */
  [folder: string]: { ids: number[]; logits: string; texts: Record<string, number[]> };
}
let told: Told;
let logits: Logits;

async function convert(name: string, type: (typeof types)[number]): Promise<string[]> {
  const { events } = await drain(convertModel(source(name), ours(name, type), { type }));
  return events.flatMap((event) => (event.type === 'note' ? [event.text] : []));
}

describe("like llama.cpp's converter", skip, () => {
  before(async () => {
    if (typeof reference === 'string') return;
    await reference.python.run(makeFolders, scratch);
    const jobs = folders.flatMap((name) =>
      (comparable.includes(name) ? types : (['auto'] as const)).map((type) => [
        source(name),
        theirs(name, type),
        type,
        preTokenizers.get(name) ?? 'unknown',
      ]),
    );
    told = JSON.parse(await reference.python.run(runReference, reference.source, JSON.stringify(jobs))) as Told;
    logits = JSON.parse(await reference.python.run(computeLogits, scratch, JSON.stringify(folders))) as Logits;
  });

  for (const name of comparable) {
    it(`${name}: the same bytes, in every type`, async () => {
      assert.equal(told.failed[source(name)], undefined);
      for (const type of types) {
        await convert(name, type);
        assert.ok(readFileSync(ours(name, type)).equals(readFileSync(theirs(name, type))), type);
      }
    });
  }

  it('tokenizer.json of SentencePiece: the same but for the scores, which the converter leaves out', async () => {
    const [note] = await convert('llama-json', 'auto');
    assert.match(note!, /scores .* merges/);
    const [mine, other] = [await readGguf(ours('llama-json', 'auto')), await readGguf(theirs('llama-json', 'auto'))];
    for (const [key, value] of other.metadata) {
      if (key !== 'tokenizer.ggml.scores') assert.deepEqual(mine.metadata.get(key), value, key);
    }
    for (const { name, offset, bytes } of other.tensors.values()) {
      const at = mine.tensor(name).offset;
      const [a, b] = [readFileSync(mine.path), readFileSync(other.path)];
      assert.ok(a.subarray(at, at + bytes).equals(b.subarray(offset, offset + bytes)), name);
    }
  });

  it('the hash of a tokeniser is that of Python', async () => {
    for (const name of preTokenizers.keys()) {
      const folder = await readHfFolder(source(name));
      const problems = new Problems();
      const { before, ids, after } = encodeText(folder, readAddedTokens(folder, problems), testString)!;
      assert.equal(hashOf([...before, ...ids, ...after]), told.hashes[source(name)], name);
    }
  });

  const engine = new Engine({ threads: 2, kernels: 'reference' });
  after(() => engine[Symbol.dispose]());

  for (const name of folders) {
    it(`${name}: libllama and our graph compute what transformers computes, and cut text as it does`, async () => {
      await convert(name, 'f32');
      const path = ours(name, 'f32');
      const { ids, logits: hex, texts } = logits[name]!;
      const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
      const expected = new Float32Array(bytes.buffer);
      const sequence = Int32Array.from(ids);
      using llama = await LlamaModel.load(path);
      const vocabulary = llama.vocabulary.size;
      assert.equal(expected.length, ids.length * vocabulary);
      for (const [text, cut] of Object.entries(texts)) {
        assert.deepEqual([...llama.vocabulary.tokenize(text)], cut, text);
      }
      const context = await llama.context({ contextLength: 256, threads: 2 });
      const found = new Float32Array(expected.length);
      await context.decode(sequence, 0, { wants: () => true, onLogits: (rows) => found.set(rows) });
      // Keys and values are f16 in libllama; a permutation or a scale gone wrong is nats away.
      const theirs = meanKl(expected, found, vocabulary);
      assert.ok(theirs < 1e-3, `transformers to libllama: KL ${theirs}`);
      await using model = await Model.open(engine, path);
      using workspace = engine.workspace(forwardNodes(model));
      const graph = meanKl(found, await sequenceLogits(model, workspace, sequence), vocabulary);
      // As f16 keys and values differ by one rounding here and there.
      assert.ok(graph < 1e-5, `libllama to our graph: KL ${graph}`);
    });
  }
});

it('the table of known tokenisers is that of the pinned release', {
  skip: llamaSource() === undefined && 'no source of llama.cpp',
}, () => {
  const text = readFileSync(join(llamaSource()!, 'conversion', 'base.py'), 'utf8');
  const found = new Map<string, string>();
  for (const [, hash, name] of text.matchAll(/chkhsh == "([0-9a-f]{64})":\s+# ref: \S+\s+res = "([^"]+)"/g)) {
    found.set(hash!, name!);
  }
  assert.ok(found.size > 50);
  assert.deepEqual(knownTokenizers, found);
  const python = findPython();
  if (typeof python === 'string') return;
  const line = /chktxt = ('.*')\n/.exec(text)![1]!;
  return python
    .run('import sys, ast; sys.stdout.buffer.write(ast.literal_eval(sys.argv[1]).encode())', line)
    .then((chktxt) => {
      assert.equal(testString, chktxt);
    });
});
