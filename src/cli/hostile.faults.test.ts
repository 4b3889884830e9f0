import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { it } from 'node:test';
import { Desk, sayings } from '../testing/cli.js';
import { rounds } from '../testing/faults.js';
import { assemble, changed, hostileChanges, type Parts, partsOf } from '../testing/hostileModels.js';

/** Campaign 11 on the command line: no command that opens a hostile model dies of it, and each names the file. */

const desk = new Desk();
const model = desk.path('hostile.gguf');
const data = desk.file('data.json', sayings(8));

/** Every command that hands a model to native code. */
const commands: Readonly<Record<string, readonly string[]>> = {
  data: ['data', data, '--model', model],
  add: ['models', 'add', model, '--name', 'hostile'],
  chat: ['chat', 'Hello', '--model', model],
  eval: ['eval', data, '--model', model],
  tune: ['tune', data, '--model', model, '--out', desk.path('a.gguf')],
  embed: ['embed', data, '--model', model, '--out', desk.path('a.safetensors')],
  import: ['adapters', 'import', data, '--model', model],
  probe: ['probe', data, '--model', model, '--adapter', data],
  convert: ['convert', model, '--type', 'q8_0', '--out', desk.path('q.gguf')],
};

/** What no check of a header sees: weights that are no numbers. */
function unseen(parts: Parts): Parts {
  return changed(parts, ({ tensors }) => {
    const at = tensors.findIndex(({ name }) => name === 'output_norm.weight');
    const data = new Uint8Array(new Float32Array(64).fill(Number.NaN).buffer);
    tensors[at] = { ...tensors[at]!, data };
  });
}

it('every command refuses it by a stated error', async (t) => {
  const parts = await partsOf(await desk.model('sound.gguf'));
  const changes = hostileChanges(265, 'llama');
  const names = rounds(1, 0) ? ['a norm as q8_1'] : Object.keys(changes);
  let tried = 0;
  const refuse = async (command: string, reason: RegExp) => {
    const { code, signal, stdout, stderr } = await desk.run(commands[command]!, { limit: 30_000 });
    const said = `${command}: ${stdout}${stderr}`;
    assert.deepEqual([code, signal], [1, null], said);
    assert.match(stderr, reason, said);
    assert.doesNotMatch(said, /unexpected error|GGML_ASSERT|terminate called/, said);
    tried++;
  };
  for (const [i, name] of names.entries()) {
    writeFileSync(model, await assemble(changed(parts, changes[name]!)));
    const each = i === 0 ? Object.keys(commands) : ['data', 'add', 'chat'];
    for (const command of each) await refuse(command, /hostile\.gguf/);
  }
  writeFileSync(model, await assemble(unseen(parts)));
  const tries = Object.keys(commands).filter((command) => command !== 'convert');
  for (const command of tries.slice(0, rounds(3, tries.length)))
    await refuse(command, /hostile\.gguf.*no finite numbers/);
  t.diagnostic(`campaign 11, commands: tried ${tried}, survived ${tried}`);
});
