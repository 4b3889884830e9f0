import { sharedLength } from '../base/format.js';
import type { Row } from '../engine/llama.js';

/**
 * Sequences that are read in one go, as a tree: what a sequence begins with like the one before it stands there once, for both. Short
 * texts are read many times faster so than one by one, and attention sees the same tokens.
 */

/** A sequence, and the positions at which something is wanted of it, ascending, at least one. */
export interface Asked {
  tokens: Int32Array;
  wanted: ArrayLike<number>;
}

/** What is read in one go. */
export interface Together {
  /** Indices of its sequences in the whole list, in order. */
  members: number[];
  rows: Row[];
  /** Of a row at which something is wanted, for whom: indices in the whole list. */
  wanted: Map<number, number[]>;
}

const lastWanted = ({ wanted }: Asked) => wanted[wanted.length - 1]!;

/** Tokens that all begin with and of which nothing is wanted. */
export function openingOf(list: readonly Asked[]): number {
  const [first] = list;
  if (!first || list.length < 2) return 0;
  return list.reduce(
    (shared, { tokens, wanted }) => Math.min(shared, wanted[0]!, sharedLength(tokens, first.tokens)),
    first.tokens.length,
  );
}

/**
 * Lays sequences out in their order, behind an opening of all. What follows the last wanted position is not read.
 * @param room tokens beyond the opening that fit, at least those of the longest sequence; and sequences
 */
export function* layOut(
  list: readonly Asked[],
  opening: number,
  room: { tokens: number; sequences: number },
): Generator<Together, void, undefined> {
  let members: number[] = [];
  let rows: { token: number; position: number; sequences: number[] }[] = [];
  let wanted: Together['wanted'] = new Map();
  /** Rows of the sequence before, from the opening on. */
  let path: number[] = [];
  let before = new Int32Array(0);
  for (const [index, asked] of list.entries()) {
    const tokens = asked.tokens.slice(opening, lastWanted(asked) + 1);
    let shared = members.length > 0 ? sharedLength(before, tokens) : 0;
    const full = members.length === room.sequences || rows.length + tokens.length - shared > room.tokens;
    if (members.length > 0 && full) {
      yield { members, rows, wanted };
      [members, rows, wanted, path, shared] = [[], [], new Map(), [], 0];
    }
    const own = members.length;
    members.push(index);
    path.length = shared;
    for (const row of path) rows[row]!.sequences.push(own);
    for (let at = shared; at < tokens.length; at++) {
      path.push(rows.length);
      rows.push({ token: tokens[at]!, position: opening + at, sequences: [own] });
    }
    for (const position of Array.from(asked.wanted)) {
      const row = path[position - opening]!;
      wanted.set(row, [...(wanted.get(row) ?? []), index]);
    }
    before = tokens;
  }
  if (members.length > 0) yield { members, rows, wanted };
}
