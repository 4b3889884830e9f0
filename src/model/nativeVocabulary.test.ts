import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LlamaModel } from '../engine/llama.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { bool, type GgufValue, str, strings } from '../formats/gguf/values.js';
import { encodeGguf } from '../formats/gguf/writeGguf.js';
import { partsOf, pieces } from '../testing/hostileModels.js';
import { scratchFolder } from '../testing/scratch.js';
import { vocabulary, writeTinyModel } from '../testing/tinyModel.js';
import { readHyperparameters } from './hyperparameters.js';

const T = (key: string) => `tokenizer.ggml.${key}`;
const { length: size } = vocabulary().tokens;
const folder = scratchFolder();
let files = 0;

/** A tiny model with pieces and merges; undefined takes a key away. */
async function withPieces(changes: Record<string, GgufValue | undefined> = {}): Promise<string> {
  const path = join(folder, `${files++}.gguf`);
  const { metadata, tensors } = await partsOf(await writeTinyModel(path, { family: 'gemma4', layers: 2 }));
  const own = pieces(size);
  const tokens = [...(own[T('tokens')] as { value: readonly string[] }).value];
  tokens.splice(-5, 5, 'a', '\u2581', '\u2581a', '\n\n', 'b');
  const given = {
    ...own,
    [T('model')]: str('gemma4'),
    [T('tokens')]: strings(tokens),
    [T('merges')]: strings(['\u2581 a']),
  };
  for (const [key, value] of Object.entries({ ...given, [T('pre')]: undefined, ...changes })) {
    if (value) metadata.set(key, value);
    else metadata.delete(key);
  }
  writeFileSync(path, await encodeGguf(path, { metadata, tensors }));
  return path;
}

describe('pieces with merges', () => {
  it('are joined by rank, what no piece covers becomes bytes, and runs of new lines are taken whole', async () => {
    const path = await withPieces();
    assert.equal(readHyperparameters(await readGguf(path)).vocabulary, size);
    using model = await LlamaModel.load(path, { vocabularyOnly: true });
    const { vocabulary } = model;
    const read = (text: string) => [...vocabulary.tokenize(text)].map((token) => vocabulary.text([token], true));
    assert.deepEqual(read('a a\n\nb'), ['a', ' a', '\n\n', 'b']);
    const odd = `a\n\n\n ${'\u{1f680}'.repeat(3)}\ud800 ${'a '.repeat(3000)}\n`;
    assert.equal(vocabulary.text([...vocabulary.tokenize(odd)], true), Buffer.from(odd).toString());
    assert.equal(vocabulary.tokenize('a', { bos: true })[0], 1);
  });

  const refused: Record<string, Record<string, GgufValue | undefined>> = {
    'without merges': { [T('merges')]: undefined },
    'with a merge of one piece': { [T('merges')]: strings(['ab']) },
    'without the token that begins every text': { [T('bos_token_id')]: undefined, [T('add_bos_token')]: bool(false) },
    'without bytes': { [T('tokens')]: strings(Array.from({ length: size }, (_, i) => `t${i}`)) },
  };
  for (const [name, changes] of Object.entries(refused)) {
    it(`${name}: refused before native code sees them`, async () => {
      const path = await withPieces(changes);
      const gguf = await readGguf(path);
      assert.throws(() => readHyperparameters(gguf), { code: 'damaged' });
    });
  }
});
