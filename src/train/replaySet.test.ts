import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Example } from '../examples/example.js';
import { sharedOpening } from '../model/batch.js';
import { provenModel } from '../models/listModels.js';
import { scratchFolder } from '../testing/scratch.js';
import { chatml, writeTinyModel } from '../testing/tinyModel.js';
import type { TuneEvent } from './events.js';
import { openRun } from './lab.js';
import { readReplay, replaySet } from './replaySet.js';

const root = scratchFolder();
process.env.LOAM_HOME = join(root, 'home');
const tiny = await writeTinyModel(join(root, 'tiny.gguf'), { template: chatml });
const strict = await writeTinyModel(join(root, 'strict.gguf'), {
  template: `{% if messages[0].role != 'system' %}{{ raise_exception('a system message, please') }}{% endif %}${chatml}`,
});

type Record = Pick<Example, 'messages' | 'tools'>;

/** Of a run on these records. */
async function reminded(records: readonly Record[], replay = 1, model = tiny) {
  const bytes = Buffer.from(records.map((record) => JSON.stringify(record)).join('\n'));
  const events: TuneEvent[] = [];
  await using run = await openRun(
    await provenModel(model),
    { data: { name: 'd.jsonl', bytes } },
    { maxTokens: 2048, seed: 1, threads: 1, scratch: root },
    (event) => events.push(event),
    new AbortController().signal,
  );
  const set = await replaySet(run, { replay });
  const { train, validation } = run.data;
  const texts = set?.map(({ tokens }) => run.tokenizer.vocabulary.text([...tokens], true));
  return { set, texts, events, own: [...train, ...validation], train };
}

const turn = (i: number, more = ''): Record => ({
  messages: [
    { role: 'user', content: `Question ${i}${more}` },
    { role: 'assistant', content: `Answer ${i}` },
  ],
});
const many = (count: number, record: (i: number) => Record) => Array.from({ length: count }, (_, i) => record(i));

describe('general examples that training is reminded of', () => {
  it('are none where it is to be reminded of none', async () => {
    assert.equal((await reminded(many(8, turn), 0)).set, undefined);
  });

  it('are all of them if there is as much to learn, and at least one', async () => {
    const long = await reminded(many(140, (i) => turn(i, ` ${'a'.repeat(350)}`)));
    assert.equal(long.set!.length, (await readReplay()).length);
    const short = await reminded(many(12, turn));
    const tokens = (list: readonly { tokens: Int32Array }[]) => list.reduce((sum, one) => sum + one.tokens.length, 0);
    assert.ok(short.set!.length >= 1 && tokens(short.set!) <= 2 * tokens(short.train), `${short.set!.length}`);
    assert.ok((await reminded([turn(0)])).set!.length < short.set!.length);
  });

  it('begin as the examples do where all of them have a system message or tools, so that all share it', async () => {
    const system = (i: number): Record => ({
      messages: [
        { role: 'system', content: `You are the long-winded clerk of office number ${i % 2}.` },
        ...turn(i).messages,
      ],
    });
    const { set, texts, own } = await reminded(many(12, system));
    assert.match(texts![0]!, /clerk of office number/);
    assert.match(texts![0]!, /capital of Italy/);
    assert.equal(sharedOpening([...own, ...set!]), sharedOpening(own));
    const mixed = await reminded(many(12, (i) => (i === 5 ? turn(i) : system(i))));
    assert.doesNotMatch(mixed.texts![0]!, /clerk/, 'not where one has none');
  });

  it('are left out, and that is said, where the template takes none', async () => {
    const { set } = await reminded(
      many(8, (i) => ({ messages: [{ role: 'system', content: 'Be brief.' }, ...turn(i).messages] })),
      1,
      strict,
    );
    assert.ok(set!.length > 0, 'with the system message of the examples it takes them');
    const other = await reminded(
      many(8, (i) =>
        i === 3 ? turn(i) : { messages: [{ role: 'system', content: 'Be brief.' }, ...turn(i).messages] },
      ),
      1,
      strict,
    );
    assert.equal(other.set, undefined);
    assert.ok(
      other.events.some((event) => event.type === 'warning' && /is not reminded of any/.test(event.message)),
      JSON.stringify(other.events),
    );
  });
});
