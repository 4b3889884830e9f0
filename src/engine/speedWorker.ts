import { endWithParent, packError } from '../base/process.js';
import { Engine } from './engine.js';
import { type Linear, placeLinear } from './placement.js';
import type { Speed, SpeedReport, SpeedRequest } from './speed.js';
import { rowBytes, tensorTypes } from './tensorTypes.js';

/** A process that measures how fast this device multiplies, and ends. */

/** Weights of one product, q4_0: the type of most models of the catalogue, in the shape of a layer of one with 1.1 billion weights. */
const [inputs, outputs] = [2048, 2048];
/** Different ones: together more than a phone's caches hold, so that one token waits for memory as it does while a model answers. */
const linears = 24;
const reading = 64;
const rounds = 4;

async function measure(threads: number): Promise<Speed> {
  using engine = new Engine({ threads });
  const type = tensorTypes.q4_0;
  // Scales of no size, whatever the bits: only the time counts.
  const data = new Uint8Array(rowBytes(type, inputs) * outputs).fill(0x11);
  const placed: Linear[] = [];
  for (let i = 0; i < linears; i++) {
    placed.push(await placeLinear(engine, { type, shape: [inputs, outputs], read: async () => data }));
  }
  const workspace = engine.workspace(16 + 4 * linears);
  const perSecond = async (tokens: number) => {
    const x = new Float32Array(inputs * tokens).fill(0.5);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < rounds; round++) {
      const graph = workspace.begin();
      const input = graph.input('f32', [inputs, tokens], x);
      for (const linear of placed) graph.output(linear.apply(graph, input));
      const began = performance.now();
      await graph.compute();
      best = Math.min(best, (performance.now() - began) / 1000);
    }
    return (inputs * outputs * linears * tokens) / best;
  };
  return { answering: await perSecond(1), reading: await perSecond(reading) };
}

endWithParent();
process.once('message', ({ threads }: SpeedRequest) => {
  const tell = (report: SpeedReport) => process.send!(report, undefined, undefined, () => {});
  void measure(threads).then(
    (speed) => tell({ speed }),
    (error: unknown) => tell({ error: packError(error) }),
  );
});
