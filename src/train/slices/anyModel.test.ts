import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBase } from '../../adapters/base.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { readPeft } from '../../adapters/peft/peft.js';
import { defaults } from '../../base/options.js';
import { tuningOf } from '../../models/tunable.js';
import { sayings } from '../../testing/cli.js';
import { scratchFolder } from '../../testing/scratch.js';
import { type Architecture, writeTinyArchitecture } from '../../testing/tinyArchitectures.js';
import { writeTinyModel } from '../../testing/tinyModel.js';
import type { TuneEvent } from '../events.js';
import { tuneOptions } from '../options.js';
import { embed } from '../steps/embed.js';
import { embedOptions } from '../steps/options.js';
import { tune } from '../tune.js';

/** Tuning a model of an architecture that no file of `families` describes, by forward passes, as the command line does it. */

const root = scratchFolder();
process.env.LOAM_HOME = join(root, 'home');
const data = join(root, 'd.json');
writeFileSync(data, JSON.stringify(sayings(24)));
const options = { ...defaults(tuneOptions), threads: 1, rank: 8, layers: 'all', skipGeneral: true } as const;

async function tuned(name: Architecture, method: 'ridge' | 'auto' | 'qlora', shots = 0) {
  const model = await writeTinyArchitecture(join(root, `${name}.gguf`), name);
  const events: TuneEvent[] = [];
  const out = join(root, `${name}-${method}-lora.gguf`);
  const result = await tune(data, { ...options, method, shots, model, out }).each((event) => events.push(event));
  return { model, out, events, result };
}

describe('tuning a model of any architecture', () => {
  for (const [name, shots, corrected] of [
    ['llama', 0, ['attn_output']],
    ['qwen3moe', 0, ['attn_output']],
    ['qwen35', 4, ['attn_output', 'ffn_down', 'ssm_out']],
    ['olmo2', 0, ['attn_output', 'ffn_down']],
  ] as const)
    it(`makes an adapter of ${name} with which libllama predicts better`, async () => {
      const { out, model, result, events } = await tuned(name, 'ridge', shots);
      assert.ok(result.nll.adapted < result.nll.base);
      assert.ok(events.some(({ type }) => type === 'sweep'));
      const { modules } = await openAdapter(out, await openBase(model));
      assert.deepEqual([...new Set(modules.map(({ module }) => module))].sort(), [...corrected]);
    });

  it('leaves training by gradients out, and says so', async () => {
    const { events, result } = await tuned('olmo2', 'auto');
    assert.equal(result.steps, undefined);
    const told = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    assert.ok(told.some((message) => /libllama alone computes the layers of this model \(olmo2\)/.test(message)));
    const wanted = { code: 'unsupported', message: /"olmo2", whose layers libllama alone computes/ };
    await assert.rejects(tuned('olmo2', 'qlora'), wanted);
    const experts = { code: 'unsupported', message: /"llama: a mixture-of-experts model", whose layers/ };
    await assert.rejects(tuned('llama', 'qlora'), experts);
  });

  it('leaves the steps of the pipeline out, and PEFT, with what can be done instead', async () => {
    const model = await writeTinyArchitecture(join(root, 'steps.gguf'), 'olmo2');
    const embedded = embed(data, { ...defaults(embedOptions), model, out: join(root, 'steps.npz') });
    await assert.rejects(embedded.result, {
      code: 'unsupported',
      message: /the steps of the pipeline .*loam tune --method ridge/,
    });
    const folder = join(root, 'peft');
    await assert.rejects(readPeft(folder, await openBase(model)), /convert_lora_to_gguf/);
  });

  it('follows the teacher alone where the output is no plain head', async () => {
    const { events, result } = await tuned('starcoder2', 'ridge', 4);
    assert.equal(result.nll.teacher, undefined);
    assert.ok(
      events.some((event) => event.type === 'warning' && /ridge follows its teacher alone/.test(event.message)),
    );
  });

  it('is foretold when a model gets its name', async () => {
    const told = async (name: Architecture) =>
      await tuningOf(await writeTinyArchitecture(join(root, `told-${name}.gguf`), name), root);
    assert.deepEqual(await told('seed_oss'), { methods: 'ridge' });
    const { methods, why } = await told('qwen3moe');
    assert.equal(methods, 'ridge');
    assert.match(why!, /^ffn_down_exps is left as it is: each token chooses its own of several weights$/);
    assert.deepEqual(await told('gemma3n'), {
      methods: 'ridge',
      why: 'proj is left as it is: it is added to several streams',
    });
    const known = await writeTinyModel(join(root, 'known.gguf'));
    assert.deepEqual(await tuningOf(known, root), { methods: 'ridge and training' });
  });

  it('reads the whole model where its layers are not the same apart from it, and says so', async () => {
    const model = await writeTinyArchitecture(join(root, 'gemma3n.gguf'), 'gemma3n');
    const events: TuneEvent[] = [];
    // A teacher without shots is the model itself: nothing is gained.
    const how = { ...options, method: 'ridge', shots: 0, model, out: join(root, 'none.gguf') } as const;
    const tuned = tune(data, how).each((event) => events.push(event));
    await assert.rejects(tuned, { code: 'no-gain' });
    assert.ok(events.some((event) => event.type === 'warning' && /reads all of it three times/.test(event.message)));
    assert.equal(events.filter(({ type }) => type === 'fitted').length, 12);
  });
});
