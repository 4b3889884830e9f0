import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { it } from 'node:test';

const folder = new URL('./page/static/', import.meta.url);
const sheets = readdirSync(folder).filter((name) => name.endsWith('.css'));
const css = sheets.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');

/** Colours as `:root` declares them: `--ink: light-dark(#2b2017, #efe5d5);`. */
const pairs = [...css.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);/g)];
const light = Object.fromEntries(pairs.map(([, name, colour]) => [name!, colour!]));
const dark = Object.fromEntries(pairs.map(([, name, , colour]) => [name!, colour!]));

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

it('dark as chosen by the person is dark as the device says: a colour is declared once, the choice is the scheme alone', () => {
  assert.equal(new Set(pairs.map(([, name]) => name)).size, pairs.length);
  assert.doesNotMatch(css, /--[\w-]+:\s*#/);
  assert.doesNotMatch(css, /prefers-color-scheme/);
  assert.match(css, /^:root \{\s*color-scheme: light dark;/m);
  for (const scheme of ['light', 'dark']) {
    assert.match(css, new RegExp(`^:root\\[data-theme="${scheme}"\\] \\{\\s*color-scheme: ${scheme};\\s*\\}`, 'm'));
  }
});
