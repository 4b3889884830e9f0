import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from './testing/scratch.js';
import { writeTinyModel } from './testing/tinyModel.js';

const folder = scratchFolder();

describe('the library', () => {
  it('is what package.json exports, and tunes with the defaults of the command line', async () => {
    // The package by its own name, as a program that depends on it would import it.
    const loam = (await import('loam' as string)) as typeof import('./index.js');
    const model = await writeTinyModel(join(folder, 'model.gguf'), { layers: 4 });
    const data = join(folder, 'data.json');
    // One answer for all: a few label sweeps teach any model that.
    const records = Array.from({ length: 40 }, (_, i) => ({ instruction: `in ${i}`, output: 'the the the the the' }));
    await writeFile(data, JSON.stringify(records));
    const out = join(folder, 'me.gguf');
    const run = loam.tune(data, { model, out });
    const types = new Set<string>();
    let step = await run.next();
    for (; !step.done; step = await run.next()) types.add(step.value.type);
    const result = step.value;
    assert.ok(types.has('model') && types.has('data') && types.has('sweep'));
    assert.ok(result.nll.adapted < result.nll.base);
    const gguf = await loam.readGguf(model);
    const adapter = await loam.readAdapter(out, { gguf, hyper: loam.readHyperparameters(gguf) });
    assert.equal(adapter.recipe?.rank, loam.tuneOptions.rank.default);
    await assert.rejects(loam.readGguf(data), loam.LoamError);

    // To PEFT and back: the same factors, bit for bit.
    const base = await loam.openLoraBase(model);
    const lora = await loam.readAnyLora(out, base);
    await loam.writePeft(join(folder, 'peft'), lora, base);
    const back = await loam.readPeft(join(folder, 'peft'), base);
    assert.deepEqual(
      back.modules.map(({ factors }) => factors.a),
      lora.modules.map(({ factors }) => factors.a),
    );
    await using file = await loam.openSafetensors(join(folder, 'peft', 'adapter_model.safetensors'));
    assert.equal([...file.tensors.keys()].length, 2 * lora.modules.length);
  });
});
