import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';

const css = readFileSync(new URL('./page/static/base.css', import.meta.url), 'utf8');

/** The colours that a rule declares. */
function colours(selector: string): Record<string, string> {
  const from = css.indexOf(selector);
  assert.ok(from >= 0, selector);
  const body = css.slice(css.indexOf('{', from), css.indexOf('}', from));
  return Object.fromEntries(
    [...body.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name!, value!]),
  );
}

const light = colours(':root {');
const dark = { ...light, ...colours(':root:not([data-theme="light"])') };

/** WCAG 2.2, "contrast ratio" and "relative luminance". */
function contrast(a: string, b: string): number {
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high! + 0.05) / (low! + 0.05);
}

/** Text and what it stands on, in any of the style sheets. */
const texts: readonly (readonly [string, string])[] = [
  ...['paper', 'sheet', 'sunk'].flatMap((ground) => [
    ['ink', ground] as const,
    ['quiet', ground] as const,
    ['moss', ground] as const,
    ['clay', ground] as const,
  ]),
  ['on-moss', 'moss'],
  ['on-moss', 'moss-deep'],
  ['on-clay', 'clay'],
  ['on-moss-soft', 'moss-soft'],
  ['on-clay-soft', 'clay-soft'],
  ['on-ochre-soft', 'ochre-soft'],
];
/** Borders of controls, lines of the curve, the ring of the focus: WCAG 1.4.11. */
const shapes: readonly (readonly [string, string])[] = [
  ...['paper', 'sheet'].flatMap((ground) => [['edge', ground] as const, ['focus', ground] as const]),
  ['curve', 'sheet'],
  ['checked', 'sheet'],
  ['moss', 'sunk'],
];

for (const [theme, palette] of Object.entries({ light, dark })) {
  it(`${theme}: text has a contrast of 4.5 at least, shapes of 3 (WCAG 2.2 AA)`, () => {
    for (const [pairs, least] of [
      [texts, 4.5],
      [shapes, 3],
    ] as const) {
      for (const [front, ground] of pairs) {
        const ratio = contrast(palette[front]!, palette[ground]!);
        assert.ok(ratio >= least, `${front} on ${ground}: ${ratio.toFixed(2)}, expected ${least}`);
      }
    }
  });
}

it('dark as chosen by the person is dark as the device says', () => {
  assert.deepEqual(colours(':root[data-theme="dark"]'), colours(':root:not([data-theme="light"])'));
});
