import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { keys } from '../adapters/lora.js';
import { writeLora } from '../adapters/loraGguf.js';
import { StoppedError } from '../base/errors.js';
import { defaults, parseFlags } from '../base/options.js';
import { Random } from '../base/random.js';
import { LlamaModel } from '../engine/llama.js';
import { str, u32 } from '../formats/gguf/values.js';
import type { ChatMessage } from '../model/chatTemplate.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { toolFamilies } from '../testing/toolFamilies.js';
import { ChatSession } from './ChatSession.js';
import { StopText } from './StopText.js';
import { type Sampling, samplingOptions } from './sampling.js';

/** By definition: generation ends with the first character that completes a stop text, and the answer before that text. */
function before(text: string, stops: readonly string[]): string {
  const some = stops.filter((stop) => stop !== '');
  for (let n = 1; n <= text.length; n++) {
    const found = some.map((stop) => text.slice(0, n).indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) return text.slice(0, Math.min(...found));
  }
  return text;
}

/** Every sampling option reaches libllama's sampler, and a session continues a conversation as if it read it anew. */

const folder = scratchFolder();
// An output matrix of its own makes the distribution flat, so that there is something to draw.
const path = await writeTinyModel(join(folder, 'flat.gguf'), { tied: false });
const session = await ChatSession.open({ modelPath: path, threads: 1 });
after(() => session[Symbol.dispose]());

const user = (content: string): ChatMessage => ({ role: 'user', content });
const sampling = (changes: Partial<Sampling>): Sampling => ({
  ...defaults(samplingOptions),
  maxTokens: 24,
  ...changes,
});

async function answer(changes: Partial<Sampling>, messages = [user('Hello')], by = session) {
  let text = '';
  for await (const event of by.answer(messages, sampling(changes))) {
    if (event.type === 'text') text += event.text;
    if (event.type === 'end') return { text, ...event };
  }
  throw new Error('no end');
}
const texts = async (runs: Partial<Sampling>[]) => {
  const found: string[] = [];
  for (const run of runs) found.push((await answer(run)).text);
  return found;
};
const seeds = Array.from({ length: 8 }, (_, seed) => ({ seed }));

describe('sampling options', () => {
  it('flags give what is declared', () => {
    const flags = '--temperature 0 --top-p 0.5 --repeat-penalty 1.5 --seed 0 --max-tokens 3'.split(' ');
    assert.deepEqual(parseFlags(samplingOptions, flags).values, {
      temperature: 0,
      topP: 0.5,
      repeatPenalty: 1.5,
      seed: 0,
      maxTokens: 3,
    });
  });

  it('temperature 0 takes the likeliest token each time, whatever the seed', async () => {
    const greedy = { temperature: 0, repeatPenalty: 1 };
    const found = await texts(seeds.map((seed) => ({ ...seed, ...greedy })));
    assert.equal(new Set(found).size, 1);

    // The same by hand, from the logits.
    using model = await LlamaModel.load(path);
    const context = await model.context({ contextLength: 128, threads: 1 });
    let tokens = [...(await session.tokenizer.prompt([user('Hello')]))];
    const start = tokens.length;
    while (tokens.length < start + 24) {
      context.clear();
      let best = -1;
      await context.decode(Int32Array.from(tokens), 0, {
        wants: (index) => index === tokens.length - 1,
        onLogits: (row) => {
          best = row.indexOf(row.reduce((max, x) => Math.max(max, x)));
        },
      });
      if (model.vocabulary.endsGeneration(best)) break;
      tokens = [...tokens, best];
    }
    assert.equal(found[0], model.vocabulary.text(tokens.slice(start)));
  });

  it('a seed makes answers repeatable; other seeds and no seed give others', async () => {
    const hot = { temperature: 1, topP: 1, repeatPenalty: 1 };
    const run = () => texts(seeds.map((seed) => ({ ...seed, ...hot })));
    const [first, again] = [await run(), await run()];
    assert.deepEqual(first, again);
    assert.equal(new Set(first).size, seeds.length);
    assert.ok(new Set(await texts(Array(4).fill(hot))).size > 1);
  });

  it('topP 0 leaves the likeliest token only', async () => {
    const likeliest = await texts([{ temperature: 0, repeatPenalty: 1 }]);
    const found = await texts(seeds.map((seed) => ({ ...seed, temperature: 5, topP: 0, repeatPenalty: 1 })));
    assert.deepEqual([...new Set(found)], likeliest);
  });

  it('repeatPenalty makes an answer less repetitive', async () => {
    // With tied embeddings a random model repeats itself: the last token is the most like itself.
    const tied = await writeTinyModel(join(folder, 'tied.gguf'));
    using repetitive = await ChatSession.open({ modelPath: tied, threads: 1 });
    const distinct = async (repeatPenalty: number) => {
      const { text } = await answer({ temperature: 0, repeatPenalty }, [user('Hello')], repetitive);
      return new Set(text).size;
    };
    assert.ok((await distinct(2)) > (await distinct(1)));
  });

  it('maxTokens ends an answer and says so', async () => {
    for (const maxTokens of [1, 2, 7]) {
      const { tokens, reason } = await answer({ maxTokens, temperature: 0 });
      assert.ok(tokens === maxTokens ? reason === 'length' : tokens < maxTokens && reason === 'turn');
    }
  });
});

describe('a conversation', () => {
  const greedy = { temperature: 0, repeatPenalty: 1, maxTokens: 12 };

  it('is continued as if it were read anew', async () => {
    const messages: ChatMessage[] = [];
    for (const question of ['One?', 'Two?', 'Three?']) {
      messages.push(user(question));
      const { text } = await answer(greedy, messages);
      using fresh = await ChatSession.open({ modelPath: path, threads: 1 });
      assert.equal((await answer(greedy, messages, fresh)).text, text);
      messages.push({ role: 'assistant', content: text });
    }
    // Back to an earlier point, and to another conversation.
    assert.equal((await answer(greedy, messages.slice(0, 1))).text, messages[1]!.content);
  });

  it('that outgrows the context loses its oldest turns, never the system message or the question, and says so', async () => {
    using small = await ChatSession.open({ modelPath: path, threads: 1, contextLength: 128 });
    const turns = Array.from(
      { length: 9 },
      (_, i): ChatMessage => ({
        role: i % 2 ? 'assistant' : 'user',
        content: `turn ${i} with words`,
      }),
    );
    const system: ChatMessage = { role: 'system', content: 'Be brief.' };
    const events = [];
    for await (const event of small.answer([system, ...turns], sampling(greedy))) events.push(event);
    const [first] = events;
    assert.ok(first?.type === 'forgot' && first.messages > 0 && first.messages % 2 === 0);
    const kept = await answer(greedy, [system, ...turns.slice(first.messages)], small);
    assert.equal(events.flatMap((event) => (event.type === 'text' ? [event.text] : [])).join(''), kept.text);
    await assert.rejects(
      answer(greedy, [user('word '.repeat(200))], small),
      /a message of \d+ tokens, expected at most/,
    );
  });

  it('can go on after an answer was stopped', async () => {
    const expected = await answer(greedy);
    const controller = new AbortController();
    await assert.rejects(async () => {
      for await (const event of session.answer([user('Hello')], sampling(greedy), controller.signal)) {
        if (event.type === 'text') controller.abort();
      }
    }, StoppedError);
    assert.equal((await answer(greedy)).text, expected.text);
  });
});

describe('StopText', () => {
  it('shows what stands before the first stop text, however the text is cut', () => {
    const random = new Random(1);
    const letters = (n: number) => Array.from({ length: n }, () => 'ab\n'[random.below(3)]).join('');
    for (let round = 0; round < 3000; round++) {
      const text = letters(random.below(14));
      const stops = Array.from({ length: random.below(4) }, () => letters(random.below(4)));
      const stopping = new StopText(stops);
      let shown = '';
      for (let at = 0; at < text.length && !stopping.found; ) {
        const end = at + 1 + random.below(4);
        shown += stopping.push(text.slice(at, end));
        // Nothing that was shown is ever taken back.
        assert.ok(before(text, stops).startsWith(shown));
        at = end;
      }
      shown += stopping.end();
      assert.equal(shown, before(text, stops), JSON.stringify({ text, stops }));
    }
  });

  it('without stop texts nothing is held back', () => {
    const stopping = new StopText(['']);
    assert.equal(stopping.push('now'), 'now');
  });
});

describe('an answer of a form', () => {
  const schema = {
    type: 'object',
    properties: { a: { enum: ['x', 'y'] } },
    required: ['a'],
    additionalProperties: false,
  };
  const thinking =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}" +
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}";

  it('comes after a thought where one is asked for, and without one where none is', async () => {
    const thinker = await writeTinyModel(join(folder, 'thinker.gguf'), { tied: false, template: thinking });
    using chat = await ChatSession.open({ modelPath: thinker, threads: 1 });
    // What ends a thought is rare in a random model.
    const logitBias = [
      ...new Set('</think>'.split('').flatMap((one) => [...chat.tokenizer.vocabulary.tokenize(one)])),
    ].map((token) => [token, 6] as const);
    let thoughts = 0;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      for (const asked of [true, false, undefined]) {
        const found = { text: '', thought: '', reason: '' };
        const how = sampling({ seed, temperature: 1, maxTokens: 300, logitBias });
        const options = { format: { schema }, thinking: asked, show: { thoughts: true } };
        for await (const event of chat.answer([user('Hello')], how, undefined, options)) {
          if (event.type === 'text') found.text += event.text;
          if (event.type === 'thought') found.thought += event.text;
          if (event.type === 'end') found.reason = event.reason;
        }
        if (asked !== true) assert.equal(found.thought, '');
        if (found.thought !== '') thoughts++;
        if (found.reason === 'turn') assert.match(found.text, /^\{\s*"a":\s*"[xy]"\s*\}$/);
        else assert.equal(asked, true);
      }
    }
    assert.ok(thoughts > 0);
  });

  it('is asked for where the adapter has learnt it and the template leaves it out, but not of an answer of a form', async () => {
    const { source } = toolFamilies['Qwen 3.5, small']!;
    const modelPath = await writeTinyModel(join(folder, 'small.gguf'), { tied: false, template: source });
    const factors = { inputs: 96, outputs: 64, rank: 1, a: new Float32Array(96), b: new Float32Array(64) };
    for (const [note, opening] of [
      [undefined, '<think>\n\n</think>\n\n'],
      ['off', '<think>\n\n</think>\n\n'],
      ['on', '<think>\n'],
    ] as const) {
      const file = join(folder, `${note}.gguf`);
      const notes = new Map(note ? [[keys.thinking, str(note)]] : []);
      const modules = [{ layer: 0, module: 'ffn_down', factors, alpha: 1 }] as const;
      await writeLora(file, { architecture: 'llama', modules: [...modules], notes });
      using chat = await ChatSession.open({ modelPath, adapters: [{ path: file }], threads: 1 });
      const { vocabulary } = chat.tokenizer;
      assert.ok(
        vocabulary.text(await chat.tokenizer.prompt([user('hi')]), true).endsWith(`assistant\n${opening}`),
        note,
      );
      const held = chat.answer([user('hi')], sampling({ temperature: 0, maxTokens: 60 }), undefined, {
        format: { schema },
      });
      assert.match(await held.result, /^\{\s*"a":\s*"[xy]"\s*\}$/);
    }
  });

  it('fills in the middle between the marks of a model that has them', async () => {
    const metadata = Object.fromEntries(
      ['pre', 'suf', 'mid'].map((name, i) => [`tokenizer.ggml.fim_${name}_token_id`, u32(5 + i)]),
    );
    const filler = await writeTinyModel(join(folder, 'filler.gguf'), { tied: false, metadata });
    using chat = await ChatSession.open({ modelPath: filler, threads: 1 });
    const { vocabulary } = chat.tokenizer;
    const greedy = sampling({ temperature: 0, maxTokens: 8 });
    const tokens = [5, ...vocabulary.tokenize('the '), 6, ...vocabulary.tokenize(' inn'), 7];
    const bos = vocabulary.addsBos ? [vocabulary.bos] : [];
    const marked = await chat.complete({ before: 'the ', after: ' inn' }, greedy).result;
    assert.equal(marked, await chat.complete({ tokens: [...bos, ...tokens] }, greedy).result);
    await assert.rejects(
      session.complete({ before: 'a', after: 'b' }, greedy).result,
      /"suffix" is not served by this model/,
    );
  });
});
