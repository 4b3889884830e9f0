import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readGguf } from '../formats/gguf/readGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { toolFamilies } from '../testing/toolFamilies.js';
import type { ChatMessage, Tool } from './message.js';
import { Tokenizer } from './tokenizer.js';

/** Calls and thoughts are learnt whole, results and tools are not, after the prompt that will be asked. */

const folder = scratchFolder();
let files = 0;
const open = async (source: string) =>
  await Tokenizer.open(await readGguf(await writeTinyModel(join(folder, `${files++}.gguf`), { template: source })));

const tools: Tool[] = [{ name: 'find', description: 'Finds', parameters: { type: 'object', properties: {} } }];
const user: ChatMessage = { role: 'user', content: 'q' };
const calls = (given: Record<string, unknown>): ChatMessage => ({
  role: 'assistant',
  content: '',
  calls: [{ id: 'abcdefgh1', name: 'find', arguments: given }],
});
const result: ChatMessage = { role: 'tool', content: 'GIVEN', callId: 'abcdefgh1' };
const end: ChatMessage = { role: 'assistant', content: 'done' };

/** What of a conversation is learnt, in the order of its sequences. */
async function learnt(tokenizer: Tokenizer, messages: readonly ChatMessage[]): Promise<string[]> {
  const encoded = await tokenizer.encode(messages, { tools });
  return encoded.flatMap(({ tokens, trained }) => {
    const runs: string[] = [];
    let run: number[] = [];
    for (const [i, token] of tokens.entries()) {
      if (trained[i] === 1) run.push(token);
      if (run.length > 0 && trained[i + 1] !== 1) {
        runs.push(tokenizer.vocabulary.text(run, true));
        run = [];
      }
    }
    return runs;
  });
}

/** A template that knows no tools. */
const chatml =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

describe('a conversation with calls', () => {
  for (const [name, { source, form }] of [
    ...Object.entries(toolFamilies),
    ['none', { source: chatml, form: 'plain' }] as const,
  ]) {
    it(`${name}: calls and answers are learnt, and nothing of what tools are or give`, async () => {
      using tokenizer = await open(source);
      const own = (await tokenizer.template.toolUse()).form;
      assert.equal(own.name, form);
      const [first, second, ...more] = await learnt(tokenizer, [user, calls({ a: 'x', n: 1 }), result, end]);
      assert.deepEqual(more, []);
      assert.ok(first!.includes('find') && first!.includes('x'), first);
      // The channel is the model's own to say.
      assert.ok(second!.replace('<|channel|>final<|message|>', '').trimStart().startsWith('done'), second);
      assert.ok(!(first! + second!).includes('GIVEN') && !first!.includes('Finds'));
      const unlearnt = await learnt(tokenizer, [user, { ...calls({ a: 'x' }), train: false }, result, end]);
      assert.deepEqual(unlearnt, [second]);
    });

    it(`${name}: what is learnt follows exactly the prompt that is asked`, async () => {
      using tokenizer = await open(source);
      const thinking = tokenizer.template.knowsThoughts ? false : undefined;
      const [encoded] = await tokenizer.encode([user, calls({ a: 'x' })], { tools });
      const prompt = await tokenizer.prompt([user], { tools, thinking });
      assert.deepEqual(encoded!.tokens.slice(0, prompt.length), prompt);
      assert.equal(encoded!.trained.indexOf(1), prompt.length);
    });
  }

  it('keeps characters of control tokens in arguments and results apart from tokens', async () => {
    for (const source of [toolFamilies['Qwen 2.5']!.source, chatml]) {
      using tokenizer = await open(source);
      const controls = async (given: string) => {
        const messages = [user, calls({ a: given }), { ...result, content: given }, end];
        const encoded = await tokenizer.encode(messages, { tools });
        return encoded.flatMap(({ tokens }) => [...tokens]).filter((token) => tokenizer.vocabulary.isControl(token))
          .length;
      };
      assert.equal(await controls('say "<|im_end|>"\n'), await controls('plain'));
      const named = [user, { ...calls({}), calls: [{ name: 'find', arguments: { '<|im_end|>': 1 } }] }];
      await assert.rejects(tokenizer.encode(named, { tools }), /characters of a control token/);
      const described = [{ ...tools[0]!, description: '<|im_start|>system' }];
      await assert.rejects(tokenizer.prompt([user], { tools: described }), /characters of a control token/);
    }
  });

  it('of which the template leaves out a part is refused, and one call at a time is where it takes no more', async () => {
    using llama = await open(toolFamilies['Llama 3']!.source);
    const both: ChatMessage = { ...calls({}), content: 'I look.' };
    await assert.rejects(learnt(llama, [user, both]), /leaves out a part of the answer/);
    const two: ChatMessage = { ...calls({}), calls: [...calls({}).calls!, ...calls({}).calls!] };
    await assert.rejects(learnt(llama, [user, two]), /single tool-calls/);
    using gemma = await open(toolFamilies.FunctionGemma!.source);
    await assert.rejects(
      learnt(gemma, [user, calls({ a: 'x<escape>y' })]),
      /leaves out or changes a call|control token/,
    );
    using cuts = await open(toolFamilies['Qwen 2.5']!.source.replace('call.arguments | tojson', '{} | tojson'));
    assert.equal(
      (await cuts.template.toolUse()).writes,
      'tools',
      'a template that does not write calls is not trusted with them',
    );
  });

  it('tells of tools before the first question, where the template takes no system message', async () => {
    using tokenizer = await open(
      `{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}${chatml}`,
    );
    const text = await tokenizer.template.render([user], true, { tools });
    assert.match(text, /^<\|im_start\|>user\nYou can call functions[\s\S]*"find"[\s\S]*\n\nq<\|im_end\|>/);
    assert.equal((await learnt(tokenizer, [user, calls({ a: 1 }), result, end])).length, 2);
  });

  it('whose text looks like another value is learnt where its tool says that it is a text, and else refused', async () => {
    const typed = [{ ...tools[0]!, parameters: { properties: { a: { type: 'string' } } } }];
    for (const name of ['Qwen 3.5', 'Qwen3-Coder', 'GLM-4.5']) {
      using tokenizer = await open(toolFamilies[name]!.source);
      for (const a of ['5', 'true', 'True', 'None', 'null', '{"b": 1}', "['b']", '"b"', '', ' two\n\nlines\n', '<b>']) {
        const [encoded] = await tokenizer.encode([user, calls({ a })], { tools: typed });
        assert.ok(encoded!.trained.includes(1));
      }
      for (const a of ['x</parameter>y', 'x\n</parameter>\n<parameter=b>\ny', '</arg_value>']) {
        const isOwn = a.includes(name === 'GLM-4.5' ? '</arg_value>' : '</parameter>');
        const encoding = tokenizer.encode([user, calls({ a })], { tools: typed });
        await (isOwn ? assert.rejects(encoding, /leaves out or changes a call/) : encoding);
      }
      await assert.rejects(tokenizer.encode([user, calls({ a: '5' })], { tools }), /leaves out or changes a call/);
    }
  });

  it('of a template that rewrites earlier turns is learnt turn by turn', async () => {
    const source =
      "{%- for m in messages -%}{%- if m.role == 'assistant' -%}{{- '<|im_start|>assistant\\n' + m.content.split('</think>')[-1] + '<|im_end|>\\n' -}}{%- else -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}";
    using tokenizer = await open(source);
    const thoughtful: ChatMessage = { ...calls({ a: 'x' }), reasoning: 'look it up' };
    const found = await learnt(tokenizer, [user, thoughtful, result, { ...end, reasoning: 'there it is' }]);
    assert.deepEqual(found, [
      'look it up\n</think>\n\n<tool_call>\n{"name": "find", "arguments": {"a": "x"}}\n</tool_call><|im_end|>',
      'there it is\n</think>\n\ndone<|im_end|>',
    ]);
    const plain = await learnt(tokenizer, [user, calls({ a: 'x' }), result, end]);
    assert.deepEqual(plain, [
      '<tool_call>\n{"name": "find", "arguments": {"a": "x"}}\n</tool_call><|im_end|>',
      'done<|im_end|>',
    ]);
  });
});

describe('a thought beside an answer', () => {
  it('is learnt before it, in the field or in the text, whichever the template reads', async () => {
    for (const source of [toolFamilies['Qwen 3']!.source, chatml]) {
      using tokenizer = await open(source);
      const told: ChatMessage = { ...end, reasoning: 'why\nnot' };
      assert.deepEqual(await learnt(tokenizer, [user, told]), ['<think>\nwhy\nnot\n</think>\n\ndone<|im_end|>']);
      const [encoded] = await tokenizer.encode([user, told]);
      const asked = await tokenizer.prompt([user]);
      assert.deepEqual(encoded!.tokens.slice(0, asked.length), asked);
    }
  });

  it('is asked for where the template leaves thoughts out unless it is told, and follows what opens it', async () => {
    const told: ChatMessage = { ...calls({ a: '1', n: 1, is: true }), reasoning: 'why\nnot' };
    const call =
      '<tool_call>\n<function=find>\n<parameter=a>\n1\n</parameter>\n<parameter=n>\n1\n</parameter>\n<parameter=is>\nTrue\n</parameter>\n</function>\n</tool_call>';
    const typed = [{ ...tools[0]!, parameters: { properties: { a: { type: 'string' } } } }];
    for (const [name, usual] of [
      ['Qwen 3.5', '<think>\n'],
      ['Qwen 3.5, small', '<think>\n\n</think>\n\n'],
    ] as const) {
      using tokenizer = await open(toolFamilies[name]!.source);
      const text = (tokens: Int32Array) => tokenizer.vocabulary.text(tokens, true);
      for (const [thinking, opening] of [
        [undefined, usual],
        [true, '<think>\n'],
        [false, '<think>\n\n</think>\n\n'],
      ] as const) {
        const prompt = await tokenizer.prompt([user], { thinking, tools: typed });
        assert.ok(text(prompt).endsWith(`<|im_start|>assistant\n${opening}`), name);
        const message = thinking === false ? { ...told, reasoning: undefined } : told;
        if (thinking === undefined) continue;
        const [encoded] = await tokenizer.encode([user, message as ChatMessage], { tools: typed });
        assert.deepEqual(encoded!.tokens.slice(0, prompt.length), prompt);
        assert.equal(tokenizer.asksForThoughts, usual.includes('</think>'));
        const answer = text(encoded!.tokens.slice(prompt.length));
        assert.equal(answer.replace(/\s*$/, ''), `${thinking ? 'why\nnot\n</think>\n\n' : ''}${call}<|im_end|>`);
      }
    }
  });

  it('goes with calls, where the template has a field for it and knows no tools', async () => {
    const source = chatml.replace(
      'm.content',
      "('<think>' + m.reasoning_content + '</think>' if m.reasoning_content else '') + m.content",
    );
    using tokenizer = await open(source);
    assert.equal(await tokenizer.template.thoughtField(), 'reasoning_content');
    assert.deepEqual(await learnt(tokenizer, [user, { ...calls({ a: 1 }), reasoning: 'why' }]), [
      '<think>why</think><tool_call>\n{"name": "find", "arguments": {"a": 1}}\n</tool_call><|im_end|>',
    ]);
  });

  it('that the template drops is refused', async () => {
    using tokenizer = await open(chatml.replace('m.content', "m.content.split('</think>')[-1]"));
    await assert.rejects(learnt(tokenizer, [user, { ...end, reasoning: 'why' }]), /leaves out a part of the answer/);
  });
});
