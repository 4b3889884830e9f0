import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { writeLora } from '../adapters/loraGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, Client, newHome, readEvents, serve } from '../testing/server.js';

/** A model whose prompt opens a thought: what comes before its end is told apart from the answer. */

const template =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}";
const home = newHome();
await addTinyModel(home, { tied: false, template });
const server = await serve(home);
const owner = new Client(server.port, server.token);
const sha256 = (await server.services.model('tiny')).sha256!;
const file = join(scratchFolder(), 'a.gguf');
const factors = { inputs: 96, outputs: 64, rank: 1, a: new Float32Array(96).fill(1), b: new Float32Array(64).fill(1) };
await writeLora(file, {
  architecture: 'llama',
  modules: [{ layer: 0, module: 'ffn_down', factors, alpha: 1 }],
  notes: new Map(),
});
const lineage = { base: { name: 'tiny', sha256 }, datasets: [] };
const version = (await server.services.vault.adapters.addVersion('a', readFileSync(file), lineage)).id;

const options = { temperature: 0, maxTokens: 8 };
const said = async (path: string, fields: object) =>
  (await readEvents(owner, path, { method: 'POST', body: { model: 'tiny', version, options, ...fields } })).map(
    ({ data }) => data,
  );

it('the chat of the page says it as a thought', async () => {
  const events = await said('/api/chat', { message: 'hi', keep: false });
  assert.ok(events.some(({ type, text }) => type === 'thought' && text !== ''));
  assert.ok(!events.some(({ type }) => type === 'text'));
});

it('so does the comparison, of both sides', async () => {
  const events = await said('/api/compare', { prompt: 'hi' });
  for (const side of ['adapted', 'base']) {
    assert.ok(events.some((event) => event.type === 'thought' && event.side === side && event.text !== ''));
  }
  assert.ok(!events.some(({ type }) => type === 'text'));
});
