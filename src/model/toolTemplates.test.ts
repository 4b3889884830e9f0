import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { findPython } from '../testing/python.js';
import { scratchFolder } from '../testing/scratch.js';
import { toolFamilies } from '../testing/toolFamilies.js';
import { ChatTemplate } from './chatTemplate.js';
import type { ChatMessage, Tool, ToolCall } from './message.js';
import { sameCalls } from './toolForms/form.js';
import { forTemplate } from './toolTemplate.js';

/** Templates with tools, calls, results and thoughts, rendered here and by Python's jinja2, set up as transformers does. */

const python = findPython('jinja2');
const folder = scratchFolder();
const day = '2024-07-26';

const REFERENCE = `
import datetime, json, sys
import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
def fail(message): raise Exception(message)
class Generation(jinja2.ext.Extension):
    tags = {'generation'}
    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method('_inside'), [], [], body).set_lineno(line)
    def _inside(self, caller): return caller()
env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
env.filters['tojson'] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
env.globals['raise_exception'] = fail
env.globals['strftime_now'] = lambda form: datetime.datetime.fromisoformat('${day}').strftime(form)
out = []
for case in json.load(open(sys.argv[1])):
    try:
        out.append(env.from_string(case['template']).render(messages=case['messages'], tools=case['tools'], documents=None, add_generation_prompt=case['prompt'], bos_token='<s>', eos_token='</s>'))
    except Exception as error:
        out.append(None)
print(json.dumps(out))
`;

interface Case {
  template: string;
  /** As OpenAI has them. */
  messages: readonly unknown[];
  tools: readonly unknown[] | null;
  prompt: boolean;
}

const tools: Tool[] = [
  {
    name: 'get_weather',
    description: 'The weather of a city, "now"\nor <later> é',
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string', description: 'Name, as in Köln' },
        Days: { type: 'integer' },
        units: { type: 'array', items: { type: 'string' }, description: 'Which' },
        place: { type: 'object', properties: { lat: { type: 'number', description: 'Degrees' } } },
        kind: { type: 'string', enum: ['rain', 'wind'], description: 'What' },
      },
      required: ['city', 'kind'],
    },
  },
  { name: 'now', description: 'The time', parameters: { type: 'object', properties: {} } },
];
const calls: ToolCall[] = [
  { city: 'Rom' },
  {},
  { city: 'Köln "am Rhein" \\ {', Days: 3, share: 0.5, small: 1e-7, big: 1e21, is: true, not: false, none: null },
  { units: ['a', "it's", 1, [true, null]], place: { lat: -1.25, more: { x: [] } }, city: '日本 👩‍🌾 \u2028\t\n' },
].map((given, i) => ({ id: `call0000${i}`, name: 'get_weather', arguments: given }));

const openaiTool = (tool: Tool) => ({ type: 'function', function: tool });
const openaiCall = ({ id, name, arguments: given }: ToolCall) => ({
  id,
  type: 'function',
  function: { name, arguments: given },
});

/** Conversations as Loam holds them, and as transformers takes them. */
const conversations = calls.flatMap((call, i) => {
  const asked: ChatMessage[] = [
    ...(i % 2 ? [{ role: 'system', content: 'Be short.' } as const] : []),
    { role: 'user', content: 'Weather?' },
  ];
  const result: ChatMessage = { role: 'tool', content: '{"degrees": 21.50}', name: 'get_weather', callId: call.id! };
  const answered: ChatMessage = { role: 'assistant', content: '', calls: [call] };
  const openai = {
    answered: { role: 'assistant', content: '', tool_calls: [openaiCall(call)] },
    result: { role: 'tool', content: '{"degrees": 21.50}', name: 'get_weather', tool_call_id: call.id! },
  };
  const end: ChatMessage = { role: 'assistant', content: 'It is sunny.' };
  const later: ChatMessage = { role: 'user', content: 'Thanks.' };
  return [
    { prompt: true, messages: asked, openai: asked },
    { prompt: false, messages: [...asked, answered], openai: [...asked, openai.answered] },
    { prompt: true, messages: [...asked, answered, result], openai: [...asked, openai.answered, openai.result] },
    {
      prompt: true,
      messages: [...asked, answered, result, end, later],
      openai: [...asked, openai.answered, openai.result, end, later],
    },
  ];
});

describe('templates of tools', { skip: typeof python === 'string' && python }, () => {
  const open = (source: string) => {
    const chat = new ChatTemplate(source, { bos: '<s>', eos: '</s>' }, 'a test');
    chat.day = day;
    chats.push(chat);
    return chat;
  };
  const chats: ChatTemplate[] = [];
  after(() => {
    for (const chat of chats) chat[Symbol.dispose]();
  });
  const reference = async (cases: readonly Case[]) => {
    if (typeof python === 'string') return [];
    const path = join(folder, 'cases.json');
    writeFileSync(path, JSON.stringify(cases));
    return JSON.parse(await python.run(REFERENCE, path)) as (string | null)[];
  };

  for (const [name, { source, form, writes }] of Object.entries(toolFamilies)) {
    it(`${name}: tools, calls and results are rendered as in Python, byte for byte`, async () => {
      const chat = open(source);
      const use = await chat.toolUse();
      assert.deepEqual([use.form.name, use.writes], [form, writes]);
      const isUsual = use.tools === 'list' && !use.calls.asText && !use.calls.noContent;
      const expected = await reference(
        conversations.map(({ openai, messages, prompt }) => {
          const all = { template: source, prompt };
          // What differs from how transformers hands it over is taken as it is handed over here.
          if (!isUsual) return { ...all, ...forTemplate({ messages, tools }, source, { use, thought: undefined }) };
          const own = openai.map((message) => inContent(message as never, use.form.write));
          return { ...all, messages: writes === 'calls' ? openai : own, tools: tools.map(openaiTool) };
        }),
      );
      for (const [i, { messages, prompt }] of conversations.entries()) {
        assert.ok(expected[i] !== null, 'Python refuses it');
        assert.equal(await chat.render(messages, prompt, { tools }), expected[i]);
      }
    });

    it(`${name}: a rendered call is read as the call that it was`, async () => {
      const chat = open(source);
      const { form: own } = await chat.toolUse();
      const asked: ChatMessage[] = [{ role: 'user', content: 'Weather?' }];
      const prompt = (await chat.render(asked, true, { tools })).replace(/<think>\s*$/, '');
      for (const call of calls) {
        // Written between single quotes as it is, in which a line break is none.
        if (name === 'LFM2.5' && JSON.stringify(call).includes('units')) continue;
        const full = await chat.render([...asked, { role: 'assistant', content: '', calls: [call] }], false, { tools });
        const answer = full.slice(prompt.length).replace(await chat.ending(), '');
        assert.ok(sameCalls(own.parse(answer, tools).calls, [call]), answer);
      }
    });
  }

  it('give thoughts to the model under the field that it looks for', async () => {
    const thought: ChatMessage = { role: 'assistant', content: 'Noon.', reasoning: 'The clock\nsays so' };
    const asked: ChatMessage = { role: 'user', content: 'When?' };
    const told = { role: 'assistant', content: 'Noon.', reasoning_content: 'The clock\nsays so' };
    const { source } = toolFamilies['Qwen 3']!;
    const [expected] = await reference([{ template: source, messages: [asked, told], tools: null, prompt: false }]);
    const text = await open(source).render([asked, thought], false);
    assert.equal(text, expected);
    assert.ok(text.includes('<think>\nThe clock\nsays so\n</think>\n\nNoon.'));
    const plain = '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}';
    assert.equal(
      await open(plain).render([asked, thought], false),
      '[user]When?[assistant]<think>\nThe clock\nsays so\n</think>\n\nNoon.',
    );
  });

  const published = join(process.env.LOAM_TEST_LLAMA_CPP ?? '.cache/llama-source', 'models', 'templates');
  it('that llama.cpp has collected are rendered as in Python', { skip: !existsSync(published) }, async () => {
    const cases: (Case & { name: string; ours: string | null })[] = [];
    for (const name of readdirSync(published).filter((file) => file.endsWith('.jinja'))) {
      const source = readFileSync(join(published, name), 'utf8');
      const chat = open(source);
      const [use, thought] = [await chat.toolUse(), await chat.thoughtField()];
      // The whole of a conversation holds what its beginnings hold.
      for (const { messages, prompt } of conversations.filter((_, i) => i % 4 === 1 || i % 4 === 3)) {
        const input = forTemplate({ messages, tools }, source, { use, thought });
        const ours = await chat.render(messages, prompt, { tools }).catch(() => null);
        cases.push({ ...input, name, template: source, prompt, ours });
      }
      chat[Symbol.dispose]();
    }
    const expected = await reference(cases);
    // Refused here: keys of objects that are numbers; a filter on what is none of its kind, whose result nobody looks at.
    const refused = new Set(['ByteDance-Seed-OSS.jinja', 'meetkai-functionary-medium-v3.1.jinja']);
    // Written for llama.cpp: Python makes no JSON of what `map` gives.
    const llamaCpp = 'llama-cpp-deepseek-r1.jinja';
    const differing = cases.flatMap(({ name, ours }, i) => {
      const isKnown = ours === null ? refused.has(name) : expected[i] === null && name === llamaCpp;
      return ours === expected[i] || isKnown ? [] : [name];
    });
    assert.deepEqual([...new Set(differing)], []);
  });
});

/** Calls in the content, for templates that write none. */
function inContent(
  message: { tool_calls?: ReturnType<typeof openaiCall>[]; content: string },
  write: (calls: ToolCall[]) => string,
) {
  const { tool_calls: given, ...rest } = message;
  if (!given) return message;
  return {
    ...rest,
    content: write(given.map(({ function: { name, arguments: values } }) => ({ name, arguments: values }))),
  };
}
