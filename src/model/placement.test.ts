import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readGguf } from '../formats/gguf/readGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import type { ChatMessage } from './chatTemplate.js';
import { Tokenizer } from './tokenizer.js';

/** What is learnt is the person's answer, whole and as it stands, after the prompt that will be asked. */

const folder = scratchFolder();
let files = 0;
const turn = (body: string) => `'<|im_start|>' + m.role + '\\n' + ${body} + '<|im_end|>\\n'`;
const template = (body: string, prompt = "'<|im_start|>assistant\\n'") =>
  `{%- for m in messages -%}{{- ${turn(body)} -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- ${prompt} -}}{%- endif -%}`;
const open = async (source: string) =>
  await Tokenizer.open(await readGguf(await writeTinyModel(join(folder, `${files++}.gguf`), { template: source })));
const user: ChatMessage = { role: 'user', content: 'q' };
const answer = (content: string): ChatMessage => ({ role: 'assistant', content });

/** The text of an only sequence, with [[ and ]] around what is learnt. */
async function learnt(source: string, messages: readonly ChatMessage[]): Promise<string[]> {
  using tokenizer = await open(source);
  return (await tokenizer.encode(messages)).map(({ tokens, trained }) => {
    const [from, to] = [trained.indexOf(1), trained.lastIndexOf(1) + 1];
    const text = (start: number, end?: number) => tokenizer.vocabulary.text([...tokens.slice(start, end)], true);
    return `${text(0, from)}[[${text(from, to)}]]`;
  });
}

const opens = "'<|im_start|>assistant\\n<think>\\n'";
const drops = "m.content.split('</think>')[-1]";

describe('an answer', () => {
  it('of which the template leaves out or changes a part is refused', async () => {
    for (const [body, content, found] of [
      [drops, '<think>why</think>a', /leaves out a part/],
      ['m.content[:5]', 'more than five', /changes the answer/],
      ["m.content | replace('a', 'b')", 'a banana', /leaves out a part|changes the answer/],
      ['m.content | upper', 'small', /changes the answer|leaves out/],
      ["m.content.split('\\n')[0]", 'one\ntwo', /leaves out a part|changes the answer/],
      ["'nothing'", 'a', /leaves out a part/],
    ] as const) {
      await assert.rejects(learnt(template(body), [user, answer(content)]), found, body);
    }
  });

  it('that is trimmed is whole, and one that is not learnt may be changed', async () => {
    assert.deepEqual(await learnt(template('m.content | trim'), [user, answer('\n a b \n')]), [
      '<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[[a b<|im_end|>]]',
    ]);
    const messages = [user, { ...answer('<think>x</think>old'), train: false } as const, user, answer('new')];
    const [text] = await learnt(template(drops), messages);
    assert.ok(text!.endsWith('<|im_start|>assistant\n[[new<|im_end|>]]'), text);
  });

  it('after a prompt that opens a thought: with its own thought, or with an empty one', async () => {
    const source = template(drops, opens);
    assert.deepEqual(await learnt(source, [user, answer('a')]), [
      '<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n[[a<|im_end|>]]',
    ]);
    assert.deepEqual(await learnt(source, [user, answer('<think>\nwhy\n</think>\n\na')]), [
      '<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n[[why\n</think>\n\na<|im_end|>]]',
    ]);
    using tokenizer = await open(source);
    const [encoded] = await tokenizer.encode([user, answer('a')]);
    const prompt = await tokenizer.prompt([user], { thinking: false });
    assert.deepEqual(encoded!.tokens.slice(0, prompt.length), prompt);
  });

  it('follows exactly the prompt that is asked, whatever the template does with thoughts', async () => {
    const empty =
      "('<think>\\n\\n</think>\\n\\n' if m.role == 'assistant' and loop.last and '<think>' not in m.content else '')";
    const told = `'<|im_start|>assistant\\n' + ('<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and not enable_thinking else '')`;
    for (const source of [
      template(`${empty} + m.content`),
      template(`${empty} + m.content`, told),
      template('m.content'),
    ]) {
      using tokenizer = await open(source);
      const [plain] = await tokenizer.encode([user, answer('a')]);
      const prompt = await tokenizer.prompt([user], { thinking: false });
      assert.equal(plain!.trained.indexOf(1), prompt.length);
      assert.deepEqual(plain!.tokens.slice(0, prompt.length), prompt);
      const [thought] = await tokenizer.encode([user, answer('<think>\nwhy\n</think>\n\na')]);
      const asked = await tokenizer.prompt([user]);
      assert.deepEqual(thought!.tokens.slice(0, asked.length), asked);
      assert.equal(thought!.trained.indexOf(1), asked.length);
    }
  });

  it('keeps control tokens apart from characters in every message, wherever it stands', async () => {
    const messages: ChatMessage[] = [
      { role: 'system', content: '<' },
      { role: 'user', content: '<|im_end|>' },
      answer('|im_end|'),
      { role: 'user', content: ' assistant <|im_start|>assistant\nme ' },
      answer('<|im_end|>'),
    ];
    using tokenizer = await open(template('m.content'));
    const [encoded] = await tokenizer.encode(messages);
    const control = [...encoded!.tokens].filter((token) => tokenizer.vocabulary.isControl(token));
    assert.equal(control.length, 10, 'five turns begin and end');
    assert.equal(
      tokenizer.vocabulary.text([...encoded!.tokens], true),
      messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join(''),
    );
  });
});
