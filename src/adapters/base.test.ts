import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { type GgufValue, i32s, str, strings } from '../formats/gguf/values.js';
import type { ModuleFactors } from '../model/factors.js';
import { Tokenizer } from '../model/tokenizer.js';
import { scratchFolder } from '../testing/scratch.js';
import { chatml, writeTinyModel } from '../testing/tinyModel.js';
import { type BaseIdentity, describeBase, differsInTemplate, openBase, requireTemplate } from './base.js';
import { fingerprints } from './fingerprint.js';
import { writeAdapter } from './loraGguf.js';
import { type Adapter, openAdapter } from './openAdapter.js';

const folder = scratchFolder();
let made = 0;
const model = (options: Parameters<typeof writeTinyModel>[1]) =>
  writeTinyModel(join(folder, `m${made++}.gguf`), { seed: 1, ...options });

const square = { inputs: 64, outputs: 64, rank: 1, a: new Float32Array(64).fill(1), b: new Float32Array(64).fill(1) };
const modules: ModuleFactors[] = [{ layer: 0, module: 'attn_output', factors: square }];

/** An adapter that says it learnt on that file. */
async function learnt(path: string, changes: Partial<BaseIdentity> = {}): Promise<string> {
  const { gguf } = await openBase(path);
  using tokenizer = await Tokenizer.open(gguf);
  const base = { ...(await describeBase(gguf, tokenizer, '0'.repeat(64))), ...changes };
  const out = join(folder, `a${made++}.gguf`);
  await writeAdapter(out, { base, modules, alpha: 1, name: 'a', recipe: {}, metrics: {} });
  return out;
}

async function on(path: string, adapter: string): Promise<{ adapter: Adapter; differs: boolean }> {
  const base = await openBase(path);
  const read = await openAdapter(adapter, base);
  using tokenizer = await Tokenizer.open(base.gguf);
  const differs = await differsInTemplate(read, tokenizer);
  if (differs) await assert.rejects(requireTemplate(read, tokenizer), /another chat template than this model file has/);
  else await requireTemplate(read, tokenizer);
  return { adapter: read, differs };
}

describe('the template that an adapter learnt under', () => {
  it('is another if a model could see it, be it by one space', async () => {
    const adapter = await learnt(await model({}));
    const templates: [string, boolean][] = [
      [chatml, false],
      [`{# the same #}${chatml}`, false],
      [chatml.replaceAll('{{ ', '{{').replaceAll(' %}{{', '  %}{{'), false],
      [chatml.replace("message['content']", "' ' + message['content']"), true],
      [chatml.replace("assistant\n'", "assistant \n'"), true],
      [chatml.replace("'<|im_end|>\n'", "'<|im_end|>'"), true],
      [chatml.replaceAll('<|im_start|>', '<|endoftext|>'), true],
      [`{% if messages[0]['role'] == 'system' %}${chatml}{% else %}{{ 'You help.' }}${chatml}{% endif %}`, true],
      [`{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}${chatml}`, true],
    ];
    for (const [template, expected] of templates) {
      const { differs } = await on(await model({ template }), adapter);
      assert.equal(differs, expected, template);
    }
  });

  it('is told by its text alone in files of older versions, and not at all in those of other tools', async () => {
    const adapter = await learnt(await model({}), { sample: undefined });
    assert.equal((await on(await model({}), adapter)).differs, false);
    assert.equal((await on(await model({ template: `${chatml} ` }), adapter)).differs, true);
    const foreign = await learnt(await model({}), { sample: undefined, templateSha256: '' });
    assert.equal((await on(await model({ template: 'x' }), foreign)).differs, false);
  });
});

describe('the tokens of the base', () => {
  const renamed = async (change: (tokens: string[]) => void, more: Record<string, GgufValue> = {}) => {
    const { gguf } = await openBase(await model({}));
    const tokens = [...gguf.strings('tokenizer.ggml.tokens')];
    change(tokens);
    return await model({ metadata: { 'tokenizer.ggml.tokens': strings(tokens), ...more } });
  };

  it('may have other names where no text consists of them', async () => {
    const adapter = await learnt(await model({}));
    const path = await renamed((tokens) => tokens.splice(0, 1, '<|pad|>'));
    assert.equal((await on(path, adapter)).differs, false);
    // The template writes it: it is a token no more, unless the template has the new name too.
    const turned = (tokens: string[]) => tokens.splice(2, 1, '<|end|>');
    assert.equal((await on(await renamed(turned), adapter)).differs, true);
    const template = str(chatml.replaceAll('<|im_end|>', '<|end|>'));
    const both = await renamed(turned, { 'tokenizer.chat_template': template });
    assert.equal((await on(both, adapter)).differs, false);
  });

  it('may be filled up with unused ones', async () => {
    const { gguf } = await openBase(await model({}));
    const types = [...gguf.numbers('tokenizer.ggml.token_type')];
    const filled = async (type: number, ...more: string[]) => {
      const metadata = new Map(gguf.metadata);
      metadata.set('tokenizer.ggml.tokens', strings([...gguf.strings('tokenizer.ggml.tokens'), ...more]));
      metadata.set('tokenizer.ggml.token_type', i32s([...types, ...more.map(() => type)]));
      const copy: typeof gguf = Object.assign(Object.create(Object.getPrototypeOf(gguf)), gguf, { metadata });
      return (await fingerprints(copy)).vocabulary;
    };
    const usual = await filled(5);
    assert.equal(await filled(5, '[PAD0]', '[PAD1]'), usual);
    assert.notEqual(await filled(3, '<|tool|>'), usual);
    assert.notEqual(await filled(1, 'more'), usual);
  });

  it('are named as the difference where texts consist of them, and older files say what they know', async () => {
    const adapter = await learnt(await model({}));
    const path = await renamed((tokens) => tokens.splice(262, 1, 'thx'), {
      'tokenizer.ggml.merges': strings(['t h', 'i n', 'e r', 'Ġ a']),
    });
    const refused = async (file: string, pattern: RegExp) => {
      await assert.rejects(
        async () => openAdapter(file, await openBase(path)),
        (e) => e instanceof LoamError && e.code === 'mismatch' && pattern.test(e.message),
      );
    };
    await refused(adapter, /made for this model \(tiny\), but .* some tokens have other names.*the same tokens/);
    await refused(
      await learnt(await model({}), { parts: undefined }),
      /another base model .*, or .* a token has another/,
    );
    await refused(await learnt(await model({ seed: 2 })), /made for another base model \(tiny\), expected/);
  });
});
