import { correctedLinears } from '../ridge/correctLayer.js';
import { UsageError } from '../util/errors.js';
import type { EmbeddedLinear } from './header.js';

/** A linear by its weight's name, `blk.15.ffn_down`, among those that a file has. */
export function parseLinear(name: string, linears: readonly EmbeddedLinear[]): EmbeddedLinear {
  const match = /^(?:blk\.)?(\d{1,4})\.(\w+)$/.exec(name);
  const found = linears.find(({ layer, module }) => layer === Number(match?.[1]) && module === match?.[2]);
  if (found) return found;
  const [first, last] = [linears[0]!.layer, linears.at(-1)!.layer];
  throw new UsageError({
    found: JSON.stringify(name),
    expected: `blk.N.${correctedLinears[0]} or blk.N.${correctedLinears[1]}, N from ${first} to ${last}`,
    where: '--linear',
  });
}
