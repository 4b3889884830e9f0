import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Engine } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { Model } from '../model/model.js';
import { modelPath } from '../models/register.js';
import { forward, forwardNodes } from '../testing/forward.js';
import { meanKl } from '../testing/kl.js';
import '../testing/realHome.js';

/** Gemma 3 270M, where it has been fetched: the forward graph against libllama, beyond the window of its local layers. */

const path = await modelPath('gemma3-270m');
const skip = existsSync(path) ? false : 'the model is not here: loam models get gemma3-270m';
/** Positions at the end whose logits are compared: with 262,144 tokens each, all of them would take half a gigabyte. */
const compared = 16;

describe('Gemma 3 270M', { skip }, () => {
  it('has the logits of libllama, beyond its window', async () => {
    const text = readFileSync(new URL('../../assets/examples/mara-train.json', import.meta.url), 'utf8');
    let expected: Float32Array;
    let tokens: Int32Array;
    {
      using model = await LlamaModel.load(path);
      tokens = model.vocabulary.tokenize(text.slice(0, 8000), { bos: true }).slice(0, 600);
      assert.equal(tokens.length, 600);
      const context = await model.context({ contextLength: 640, threads: 1 });
      expected = new Float32Array(compared * model.vocabulary.size);
      let at = 0;
      await context.decode(tokens, 0, {
        wants: (index) => index >= tokens.length - compared,
        onLogits: (rows) => {
          expected.set(rows, at);
          at += rows.length;
        },
      });
      assert.equal(at, expected.length);
    }
    using engine = new Engine({ threads: 1, kernels: 'reference' });
    await using model = await Model.open(engine, path);
    assert.ok(model.hyper.local!.window < tokens.length);
    using workspace = engine.workspace(forwardNodes(model));
    const layers = await model.allLayers();
    using head = await model.head();
    try {
      const g = workspace.begin();
      const batch = { members: [0], length: tokens.length, lengths: [tokens.length] };
      const rows = Int32Array.from({ length: compared }, (_, i) => tokens.length - compared + i);
      const logits = g.output(head.logits(g, forward(g, model, layers, batch, [tokens], [], rows)));
      await g.compute();
      const kl = meanKl(expected, logits.toFloat32(), model.hyper.vocabulary);
      assert.ok(kl < 1e-6, `KL ${kl}`);
    } finally {
      for (const layer of layers) layer[Symbol.dispose]();
    }
  });
});
