// How fast this processor multiplies weights of each type, in the layout that Loam places them in: billion multiplications a second.
//
//   npm run build && node bench/products.mjs [--threads N] [--tokens 512] [--shapes 576x1536,1536x576]
import { parseArgs } from 'node:util';
import { Engine } from '../dist/engine/engine.js';
import { placeLinear } from '../dist/engine/placement.js';
import { quantizeRows } from '../dist/engine/rows.js';
import { tensorTypes } from '../dist/engine/tensorTypes.js';
import { defaultThreads } from '../dist/engine/threads.js';

const { values } = parseArgs({
  options: {
    threads: { type: 'string' },
    tokens: { type: 'string', default: '512' },
    shapes: { type: 'string', default: '576x1536,1536x576,576x576,576x192' },
  },
});
const threads = values.threads ? Number(values.threads) : defaultThreads();
const tokens = Number(values.tokens);
/** Products of one graph, and graphs of each weight: the fastest counts. */
const [products, rounds] = [8, 7];

const random = (count) => Float32Array.from({ length: count }, () => Math.random() - 0.5);
const engine = new Engine({ threads });
const workspace = engine.workspace(16 + 4 * products);
console.log(`${threads} threads, ${tokens} tokens; ${Object.keys(engine.cpu.features()).join(' ')}`);
for (const [inputs, outputs] of values.shapes.split(',').map((shape) => shape.split('x').map(Number))) {
  const row = [];
  for (const type of /** @type {const} */ (['q4_0', 'q4_1', 'q8_0', 'bf16', 'f16', 'f32'])) {
    const data = quantizeRows(type, random(inputs * outputs), inputs);
    const linear = await placeLinear(engine, {
      type: tensorTypes[type],
      shape: [inputs, outputs],
      read: async () => data,
    });
    const x = random(inputs * tokens);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < rounds; round++) {
      const g = workspace.begin();
      const input = g.input('f32', [inputs, tokens], x);
      for (let i = 0; i < products; i++) g.output(linear.apply(g, input));
      const started = performance.now();
      await g.compute();
      best = Math.min(best, (performance.now() - started) / 1000 / products);
    }
    const { placement } = linear;
    linear[Symbol.dispose]();
    row.push(`${type} ${((inputs * outputs * tokens) / best / 1e9).toFixed(0)} (${placement})`);
  }
  console.log(`${inputs} x ${outputs}: ${row.join(', ')}`);
}
