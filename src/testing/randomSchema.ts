import type { Random } from '../base/random.js';

/** A schema of the kinds that are served. @param depth of schemas within it */
export function randomSchema(random: Random, depth: number): object {
  const below = (n: number) => random.below(n);
  const inner = () => randomSchema(random, depth - 1);
  const name = () => ['a', 'bc', 'näme', 'x y', '"q"', 'a\\b', '😀'][below(7)]!;
  const bounds = (key: string, most: number) => {
    const [a, b] = [below(most), below(most)];
    return {
      ...(below(2) === 0 && { [`min${key}`]: Math.min(a, b) }),
      ...(below(2) === 0 && { [`max${key}`]: Math.max(a, b) }),
    };
  };
  switch (below(depth > 0 ? 10 : 6)) {
    case 0:
      return { type: 'string', ...bounds('Length', 9) };
    case 1:
      return { type: 'integer', ...bounds('imum', 3000) };
    case 2:
      return { enum: [name(), below(99), below(2) === 0, null, { [name()]: below(9) }].slice(below(4)) };
    case 3:
      return { type: ['boolean', 'null'] };
    case 4:
      return { type: 'number', ...bounds('imum', 40) };
    case 5:
      return { const: [below(5), name()] };
    case 6:
      return { type: 'array', items: inner(), ...bounds('Items', 4) };
    case 7:
      return { anyOf: [inner(), { type: 'string', maxLength: 4 }, { type: 'boolean' }] };
    default: {
      const properties = Object.fromEntries(Array.from({ length: below(4) }, () => [name(), inner()]));
      const required = Object.keys(properties).filter(() => below(2) === 0);
      const more = [undefined, false, true, { type: 'null' }][below(4)];
      return { type: 'object', properties, required, ...(more !== undefined && { additionalProperties: more }) };
    }
  }
}
