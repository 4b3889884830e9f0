import { UnsupportedError, UsageError } from '../../base/errors.js';

/**
 * How many readings of one text a grammar may have to follow at a time. libllama follows them all, so that two alternatives that begin
 * alike and lead back to where they stand would double the work with each level, until the memory is full.
 */

/** A value that a grammar describes. */
export interface Shape {
  /** Its rule. */
  rule: string;
  /** Values that stand in its place: one of them. */
  alternatives: Shape[];
  /** Values within it. */
  parts: Shape[];
  /** Beginnings of its texts, if it has no alternatives: one that begins another may be read as that. */
  openings: string[];
}

const MAX_READINGS = 100;
/** Beginnings held against others: half a second's work. */
const MAX_COMPARED = 5_000_000;

/** @throws UsageError, UnsupportedError for what may not be handed to libllama */
export function checkReadings(root: Shape, where: string): void {
  const circles = findCircles(root);
  const openings = new Map<Shape, Set<string>>();
  const openingsOf = (shape: Shape, above: readonly Shape[] = []): Set<string> => {
    const known = openings.get(shape);
    if (known) return known;
    if (above.includes(shape)) {
      throw new UsageError({ found: 'a schema that leads back to itself with nothing between', where });
    }
    const found = new Set(shape.openings);
    for (const one of shape.alternatives) for (const opening of openingsOf(one, [...above, shape])) found.add(opening);
    openings.set(shape, found);
    return found;
  };
  let compared = 0;
  const alike = (a: Shape, b: Shape) => {
    if (a === b) return true;
    compared += openingsOf(a).size * openingsOf(b).size;
    if (compared > MAX_COMPARED) throw tooMany(where);
    for (const one of openingsOf(a)) {
      for (const other of openingsOf(b)) if (one.startsWith(other) || other.startsWith(one)) return true;
    }
    return false;
  };
  const readings = new Map<Shape, number>();
  const count = (shape: Shape): number => {
    const known = readings.get(shape);
    if (known !== undefined) return known;
    // What leads back here counts once: it is followed for as long as the circle is.
    readings.set(shape, 1);
    const inside = Math.max(1, ...shape.parts.map(count));
    const sums = shape.alternatives.map((one) => {
      const others = shape.alternatives.filter((other) => alike(one, other));
      if (others.filter((other) => circles.get(other) === circles.get(shape)).length > 1) {
        const found = 'alternatives that begin alike and lead back to where they stand';
        const fix = 'give each a first required property of its own, or with a constant of its own';
        throw new UnsupportedError({ found, where, fix });
      }
      return others.reduce((sum, other) => sum + count(other), 0);
    });
    const most = Math.max(inside, ...sums);
    if (most > MAX_READINGS) throw tooMany(where);
    readings.set(shape, most);
    return most;
  };
  openingsOf(root);
  count(root);
}

function tooMany(where: string): UsageError {
  const found = 'a schema with too many alternatives that begin alike';
  return new UsageError({ code: 'too-large', found, expected: `at most ${MAX_READINGS} at a time`, where });
}

/** The number of its circle for each shape: those of one number lead to each other (Tarjan's strongly connected components). */
function findCircles(root: Shape): Map<Shape, number> {
  const found = new Map<Shape, number>();
  const order = new Map<Shape, number>();
  const lowest = new Map<Shape, number>();
  const open: Shape[] = [];
  const visit = (shape: Shape): void => {
    order.set(shape, order.size);
    lowest.set(shape, order.get(shape)!);
    open.push(shape);
    for (const next of [...shape.alternatives, ...shape.parts]) {
      if (!order.has(next)) visit(next);
      if (!found.has(next)) lowest.set(shape, Math.min(lowest.get(shape)!, lowest.get(next)!));
    }
    if (lowest.get(shape) !== order.get(shape)) return;
    for (let last = open.pop()!; ; last = open.pop()!) {
      found.set(last, order.get(shape)!);
      if (last === shape) break;
    }
  };
  visit(root);
  return found;
}
