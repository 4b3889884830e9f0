import { StoppedError } from '../base/errors.js';
import {
  packRidge,
  type RidgeKeeper,
  type RidgeState,
  type SavedRidge,
  type Stores,
  unpackRidge,
} from '../train/ridge/state.js';

/** A keeper of ridge that keeps in memory what it is asked to after so many layers, and stops the fit there. */
export function stoppingKeeper(layers: number, resumed?: SavedRidge): RidgeKeeper & { kept(): SavedRidge } {
  let kept: SavedRidge | undefined;
  let asked = 0;
  return {
    resumed,
    kept: () => kept!,
    async afterLayer(state: () => RidgeState, stores: Stores) {
      if (++asked < layers) return;
      const streams = new Map<string, Float32Array[]>();
      for (const [name, store] of stores) {
        const blocks = await Promise.all(store.sizes.map(async (_, i) => (await store.read(i)).slice()));
        streams.set(name, blocks);
      }
      const { header, arrays } = packRidge(state());
      const bytes = new Map([...arrays].map(([name, values]) => [name, values.slice()]));
      kept = {
        state: unpackRidge(JSON.parse(JSON.stringify(header)), bytes)!,
        has: (name) => streams.has(name),
        async *read(name) {
          yield* streams.get(name)!;
        },
      };
      throw new StoppedError();
    },
  };
}
