import type { JsonObject } from '../../util/parseJson.js';

/**
 * Byte-pair encoding of one piece (Sennrich et al. 2016): the pair of neighbours with the lowest rank is joined, the leftmost first,
 * until no pair has one.
 * @returns ids, or undefined where a part is not in the vocabulary
 */
export function mergePieces(
  piece: string,
  vocabulary: JsonObject,
  ranks: ReadonlyMap<string, number>,
  ignoreMerges: boolean,
): number[] | undefined {
  const whole = vocabulary.get(piece);
  if (ignoreMerges && typeof whole === 'number') return [whole];
  const parts = [...piece];
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    let place = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`);
      if (rank !== undefined && rank < best) [best, place] = [rank, i];
    }
    if (place < 0) break;
    parts.splice(place, 2, parts[place]! + parts[place + 1]!);
  }
  const ids = parts.map((part) => vocabulary.get(part));
  return ids.every((id) => typeof id === 'number') ? (ids as number[]) : undefined;
}
