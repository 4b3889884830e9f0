import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeDataset, toFields } from '../serve/datasets.js';
import type { Dataset } from './example.js';
import { loadDataset } from './loadDataset.js';
import { findPersonal } from './personal/findPersonal.js';
import { redact, redactDataset } from './personal/redact.js';

/** Tools, calls, results and thoughts in data sets, in every form in which others write them. */

const load = (value: unknown, name = 'data') =>
  loadDataset({ name, bytes: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)) });
const told = ({ problems }: Dataset) => problems.map(({ reason }) => reason);

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tool = { name: 'get_weather', description: 'The weather', parameters: schema };
const call = { id: 'call_1', name: 'get_weather', arguments: { city: 'Köln' } };
const openaiCall = (given: unknown, id = 'call_1') => ({
  id,
  type: 'function',
  function: { name: 'get_weather', arguments: given },
});
const user = { role: 'user', content: 'Weather?' };
const answer = { role: 'assistant', content: 'Rain.' };
const result = { role: 'tool', tool_call_id: 'call_1', content: '{"rain": true}' };
const read = [
  user,
  { role: 'assistant', content: '', calls: [call] },
  { role: 'tool', callId: 'call_1', content: '{"rain": true}' },
  answer,
];

describe('calls in data', () => {
  const asked = (calls: object) => [user, { role: 'assistant', ...calls }, result, answer];
  const forms: Record<string, object> = {
    'arguments as an object': asked({ content: null, tool_calls: [openaiCall({ city: 'Köln' })] }),
    'arguments as JSON': asked({ content: '', tool_calls: [openaiCall('{"city": "Köln"}')] }),
    'no content': asked({ tool_calls: [openaiCall({ city: 'Köln' })] }),
    'bare calls': asked({
      content: null,
      tool_calls: [{ id: 'call_1', name: 'get_weather', arguments: { city: 'Köln' } }],
    }),
    'calls as JSON': asked({ content: null, tool_calls: JSON.stringify([openaiCall({ city: 'Köln' })]) }),
  };
  for (const [name, messages] of Object.entries(forms)) {
    it(`OpenAI's, ${name}`, async () => {
      const data = await load([{ messages, tools: [{ type: 'function', function: tool }] }]);
      assert.deepEqual(data.examples[0]!.messages, read);
      assert.deepEqual(data.examples[0]!.tools, [tool]);
      assert.deepEqual(told(data), []);
    });
  }

  it("OpenAI's first form: function_call, role function, functions", async () => {
    const messages = [
      user,
      { role: 'assistant', content: null, function_call: { name: 'get_weather', arguments: '{"city": "Köln"}' } },
      { role: 'function', name: 'get_weather', content: 'rain' },
      answer,
    ];
    const data = await load([{ messages, functions: [tool] }]);
    const { id: _, ...bare } = call;
    assert.deepEqual(data.examples[0]!.messages.slice(1, 3), [
      { role: 'assistant', content: '', calls: [bare] },
      { role: 'tool', name: 'get_weather', content: 'rain' },
    ]);
    assert.deepEqual(data.examples[0]!.tools, [tool]);
    assert.deepEqual(told(data), []);
  });

  it("ShareGPT's roles function_call and observation, with tools in a text", async () => {
    const conversations = [
      { from: 'human', value: 'Weather?' },
      { from: 'function_call', value: '{"name": "get_weather", "arguments": {"city": "Köln"}}' },
      { from: 'observation', value: '{"rain": true}' },
      { from: 'gpt', value: 'Rain.' },
    ];
    const data = await load([{ conversations, tools: JSON.stringify([tool]), system: '' }]);
    const { id: _, ...bare } = call;
    assert.deepEqual(data.examples[0]!.messages, [
      user,
      { role: 'assistant', content: '', calls: [bare] },
      { role: 'tool', content: '{"rain": true}' },
      answer,
    ]);
    assert.deepEqual(data.examples[0]!.tools, [tool]);
    const many = conversations.with(1, {
      from: 'function_call',
      value: '<think>\nlook\n</think>\n[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"n": 1}}]',
    });
    const second = (await load([{ conversations: many }])).examples[0]!.messages[1];
    assert.deepEqual(second, {
      role: 'assistant',
      content: '',
      reasoning: 'look',
      calls: [
        { name: 'a', arguments: {} },
        { name: 'b', arguments: { n: 1 } },
      ],
    });
  });

  it('a call that is written as Python has it, and one that is none', async () => {
    const one = async (value: string) => {
      const messages = [
        { from: 'human', value: 'q' },
        { from: 'function_call', value },
        { from: 'observation', value: '42' },
        { from: 'gpt', value: 'a' },
      ];
      const data = await load([{ conversations: messages }]);
      return { answer: data.examples[0]!.messages[1], told: told(data) };
    };
    const python = await one('f(city="Köln", n=2)');
    assert.deepEqual(python, {
      answer: { role: 'assistant', content: '', calls: [{ name: 'f', arguments: { city: 'Köln', n: 2 } }] },
      told: [],
    });
    assert.deepEqual((await one('[f(), g()]')).answer!.calls!.length, 2);
    const text = await one('look it up');
    assert.deepEqual(text.answer, { role: 'assistant', content: 'look it up' });
    assert.match(text.told.join(), /is learnt as a text/);
  });

  it('tools in all their forms, beside lists of prompt and completion and beside one question', async () => {
    for (const tools of [
      [tool],
      [{ type: 'function', function: tool }],
      JSON.stringify([tool]),
      tool,
      [JSON.stringify(tool)],
    ]) {
      for (const record of [
        { prompt: [user], completion: [answer], tools },
        { instruction: 'Weather?', output: 'Rain.', tools },
        { messages: [user, answer], tools },
      ]) {
        const data = await load([record]);
        assert.deepEqual(data.examples[0]!.tools, [tool]);
        assert.deepEqual(told(data), []);
      }
    }
    for (const tools of [[], '', null, '[]']) {
      const data = await load([{ messages: [user, answer], tools }]);
      assert.equal(data.examples[0]!.tools, undefined);
      assert.deepEqual(told(data), []);
    }
  });

  it('a question with its calls, as xLAM has them', async () => {
    const record = { query: 'Weather?', tools: JSON.stringify([tool]), answers: JSON.stringify([call]) };
    const data = await load([record]);
    assert.deepEqual(data.examples[0]!.messages, read.slice(0, 2));
    assert.deepEqual(told(data), []);
  });

  it('the results of several calls stay apart, and a switch on the turn holds for its calls', async () => {
    const calls = [openaiCall({ city: 'Köln' }), openaiCall({ city: 'Rom' }, 'call_2')];
    const messages = [
      user,
      { role: 'assistant', content: 'Both.', tool_calls: calls, train: false },
      result,
      { ...result, tool_call_id: 'call_2', content: [{ type: 'text', text: 'dry' }] },
      answer,
    ];
    const { examples } = await load([{ messages }]);
    assert.deepEqual(
      examples[0]!.messages.map(({ role, content, train }) => [role, content, train]),
      [
        ['user', 'Weather?', undefined],
        ['assistant', 'Both.', false],
        ['tool', '{"rain": true}', undefined],
        ['tool', 'dry', undefined],
        ['assistant', 'Rain.', undefined],
      ],
    );
  });

  it('a number of an argument keeps its form, also through the vault', async () => {
    const text = `[{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\\"price\\": 1.50, \\"id\\": 12345678901234567890}"}}]}]}]`;
    const { examples } = await load(text);
    const again = await loadDataset({ name: 'again', bytes: encodeDataset(examples.map(toFields)) });
    assert.deepEqual(again.examples[0]!.messages, examples[0]!.messages);
    assert.ok(
      Buffer.from(encodeDataset(examples.map(toFields)))
        .toString()
        .includes('1.50'),
    );
  });

  it('what is none is refused for what it is, in its place', async () => {
    const one = (more: object) => load([{ messages: [user, { role: 'assistant', content: '', ...more }] }]);
    await assert.rejects(
      one({ tool_calls: [openaiCall('{"city":')] }),
      /tool_calls\[0\].arguments is a text that is not JSON/,
    );
    await assert.rejects(one({ tool_calls: [openaiCall([1])] }), /arguments is a list, expected an object/);
    await assert.rejects(one({ tool_calls: [{ function: { arguments: {} } }] }), /tool_calls\[0\] has no name/);
    await assert.rejects(one({ tool_calls: 7 }), /tool_calls is a number/);
    await assert.rejects(one({ tool_calls: [] }), /content is empty/);
    await assert.rejects(load([{ messages: [user, result, answer] }]), /no answer before it calls one/);
    const wrong = [user, { role: 'assistant', tool_calls: [openaiCall({})] }, { ...result, tool_call_id: 'x' }, answer];
    await assert.rejects(load([{ messages: wrong }]), /a call that the answer before it does not hold/);
    const late = [user, { role: 'assistant', tool_calls: [openaiCall({})] }, answer];
    await assert.rejects(load([{ messages: late }]), /follows a call of a tool without its result/);
    await assert.rejects(load([{ messages: [user, answer], tools: 'f(x)' }]), /"tools" is a text that is not JSON/);
    await assert.rejects(load([{ messages: [user, answer], tools: [{ type: 'retrieval' }] }]), /not of type function/);
    const open = await load([
      {
        messages: read
          .slice(0, 3)
          .with(1, forms['no content']![1 as never])
          .with(2, result),
      },
    ]);
    assert.match(told(open).join(), /ends with the result of a tool/);
  });

  it('records that differ in a call or a tool alone are no repetitions', async () => {
    const record = (city: string, tools?: object[]) => ({
      messages: [user, { role: 'assistant', tool_calls: [openaiCall({ city })] }],
      tools,
    });
    const data = await load([record('Köln'), record('Rom'), record('Köln', [tool]), record('Köln')]);
    assert.deepEqual(
      data.problems.map(({ kind }) => kind),
      ['conflict', 'duplicate'],
    );
  });
});

describe('thoughts in data', () => {
  it('under all their names', async () => {
    for (const field of ['reasoning_content', 'reasoning', 'thinking', 'thought']) {
      const data = await load([{ messages: [user, { ...answer, [field]: 'It is wet.' }] }]);
      assert.deepEqual(data.examples[0]!.messages[1], { ...answer, reasoning: 'It is wet.' });
      assert.deepEqual(told(data), []);
      const none = await load([{ messages: [user, { ...answer, [field]: null }] }]);
      assert.deepEqual(none.examples[0]!.messages[1], answer);
    }
  });

  it('that cannot be one is told or refused', async () => {
    const asked = await load([{ messages: [{ ...user, reasoning: 'x' }, answer] }]);
    assert.match(told(asked).join(), /"messages.reasoning" of 1/);
    await assert.rejects(
      load([{ messages: [user, { ...answer, reasoning: { effort: 1 } }] }]),
      /reasoning is an object/,
    );
    const two = { ...answer, reasoning: 'a', thinking: 'b' };
    await assert.rejects(load([{ messages: [user, two] }]), /two thoughts that differ/);
    const both = { role: 'assistant', content: '<think>a</think>b', reasoning: 'c' };
    await assert.rejects(load([{ messages: [user, both] }]), /a thought in its content and another beside it/);
  });
});

describe('private details of calls', () => {
  const given = { to: ['anna.k@posteo.de'], phone_number: 2025550143, text: 'Hi' };
  const calling = (values: unknown) => ({
    role: 'assistant',
    content: '',
    reasoning_content: 'Write to anna.k@posteo.de',
    tool_calls: [openaiCall(values)],
  });
  const messages: object[] = [user, calling(given), { ...result, content: '{"sent": "anna.k@posteo.de"}' }, answer];

  it('are found in arguments, results and thoughts, and replaced in one example', async () => {
    const { examples } = await load([{ messages }]);
    const findings = await findPersonal(examples);
    assert.deepEqual(
      findings.map(({ kind, message, part, number }) => [kind, message, part, number]),
      [
        ['email', 1, 'reasoning', 1],
        ['email', 1, 'calls/0/to/0', 1],
        ['phone', 1, 'calls/0/phone_number', 1],
        ['email', 2, undefined, 1],
      ],
    );
    const text = JSON.stringify(redact(examples[0]!, findings).messages);
    assert.ok(!text.includes('anna.k') && !text.includes('5550143'), text);
  });

  it('are replaced in a copy of the file, whichever way arguments are written', async () => {
    for (const asText of [false, true]) {
      const record = { messages: messages.with(1, calling(asText ? JSON.stringify(given) : given)) };
      const { bytes } = await redactDataset({ name: 'data', bytes: Buffer.from(JSON.stringify([record])) });
      const text = Buffer.from(bytes).toString();
      assert.ok(!text.includes('anna.k') && !text.includes('5550143'), text);
      const again = await load(text);
      assert.deepEqual(again.examples[0]!.messages[1]!.calls![0]!.arguments, {
        to: ['[email 1]'],
        phone_number: '[phone 1]',
        text: 'Hi',
      });
    }
  });

  it('a conversation goes through the vault as it is', async () => {
    const { examples } = await load([{ messages, tools: [tool] }]);
    const again = await loadDataset({ name: 'again', bytes: encodeDataset(examples.map(toFields)) });
    assert.deepEqual(again.examples[0]!.messages, examples[0]!.messages);
    assert.deepEqual(again.examples[0]!.tools, examples[0]!.tools);
    assert.deepEqual(told(again), []);
  });
});
