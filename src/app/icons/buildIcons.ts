import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { crc32 } from '../../base/crc32.js';

/** A picture of 8-bit RGBA pixels, row by row, as PNG (RFC 2083). */
export function writePng(width: number, height: number, rgba: Uint8Array): Buffer {
  if (rgba.length !== width * height * 4) {
    throw new RangeError(`${rgba.length} bytes of pixels, expected ${width} x ${height} x 4`);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Bit depth 8, colour type 6 (RGBA); compression, filter and interlace methods 0.
  header.set([8, 6, 0, 0, 0], 8);
  const rows = Buffer.alloc(height * (1 + width * 4));
  for (let y = 0; y < height; y++) {
    // Each row begins with its filter: 0, none.
    rows.set(rgba.subarray(y * width * 4, (y + 1) * width * 4), y * (1 + width * 4) + 1);
  }
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, 'latin1');
  out.set(data, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

/** The mark of Loam: a seedling that stands in layers of soil. Drawn from one description, as SVG and as pixels. */

type Colour = readonly [number, number, number];

const sky: Colour = [243, 233, 214];
const stem: Colour = [74, 109, 58];
const leaf: Colour = [98, 139, 72];

/** From the surface down; `top` is where a layer begins, as a share of the height, `wave` how far its edge swings. */
const layers: readonly { top: number; wave: number; phase: number; colour: Colour }[] = [
  { top: 0.6, wave: 0.018, phase: 0.2, colour: [92, 64, 44] },
  { top: 0.72, wave: 0.022, phase: 2.1, colour: [139, 94, 60] },
  { top: 0.85, wave: 0.02, phase: 4.4, colour: [181, 128, 80] },
];

/** A leaf is where two circles overlap: its tips are at `from` and `to`, `fat` is half its width relative to its length. */
const leaves: readonly { from: readonly [number, number]; to: readonly [number, number]; fat: number }[] = [
  { from: [0.5, 0.47], to: [0.245, 0.27], fat: 0.27 },
  { from: [0.5, 0.4], to: [0.74, 0.17], fat: 0.27 },
];
const stalk = { x: 0.5, top: 0.4, bottom: 0.66, half: 0.022 };

/** Corner radius as a share of the size. A maskable icon has none: the system cuts it, and leaves the middle four fifths at least. */
const rounding = 0.22;

const edge = (x: number, { top, wave, phase }: (typeof layers)[number]) =>
  top + wave * Math.sin(2 * Math.PI * x * 1.25 + phase);

/** Radius and distance of the centre from the middle of the line between the tips, for a leaf of that length. */
function arc(length: number, fat: number): { radius: number; offset: number } {
  const [half, width] = [length / 2, length * fat];
  const radius = (half * half + width * width) / (2 * width);
  return { radius, offset: radius - width };
}

/** @param maskable fills the square, and draws the mark smaller, inside the part that every mask keeps */
export function drawIconPng(size: number, maskable = false): Buffer {
  const rgba = new Uint8Array(size * size * 4);
  // Nine samples a pixel smooth the edges.
  const steps = 3;
  for (let py = 0; py < size; py++) {
    for (let px = 0; px < size; px++) {
      let [r, g, b, a] = [0, 0, 0, 0];
      for (let s = 0; s < steps * steps; s++) {
        const x = (px + ((s % steps) + 0.5) / steps) / size;
        const y = (py + (Math.floor(s / steps) + 0.5) / steps) / size;
        const colour = colourAt(x, y, maskable);
        if (!colour) continue;
        r += colour[0];
        g += colour[1];
        b += colour[2];
        a++;
      }
      if (a === 0) continue;
      rgba.set([r / a, g / a, b / a, (a * 255) / (steps * steps)], (py * size + px) * 4);
    }
  }
  return writePng(size, size, rgba);
}

function colourAt(x: number, y: number, maskable: boolean): Colour | undefined {
  if (!maskable) {
    const dx = Math.max(0, Math.abs(x - 0.5) - (0.5 - rounding));
    const dy = Math.max(0, Math.abs(y - 0.5) - (0.5 - rounding));
    if (dx * dx + dy * dy > rounding * rounding) return undefined;
  }
  const scale = maskable ? 0.82 : 1;
  const [u, v] = [(x - 0.5) / scale + 0.5, (y - 0.5) / scale + 0.5];
  if (leaves.some((shape) => insideLeaf(u, v, shape))) return leaf;
  const surface = edge(u, layers[0]!);
  if (Math.abs(u - stalk.x) < stalk.half && v > stalk.top && v < surface) return stem;
  let colour = sky;
  for (const layer of layers) if (v >= edge(u, layer)) colour = layer.colour;
  return colour;
}

function insideLeaf(x: number, y: number, { from, to, fat }: (typeof leaves)[number]): boolean {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  const { radius, offset } = arc(length, fat);
  const [mx, my] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
  const [nx, ny] = [-dy / length, dx / length];
  return [1, -1].every((side) => Math.hypot(x - mx - side * offset * nx, y - my - side * offset * ny) <= radius);
}

/** The same mark as SVG, for tabs and launchers that take it. */
export function drawIconSvg(): string {
  const css = ([r, g, b]: Colour) => `#${[r, g, b].map((n) => n.toString(16).padStart(2, '0')).join('')}`;
  const at = (n: number) => Number((n * 512).toFixed(1));
  const strata = layers.map((layer) => {
    const points = Array.from({ length: 33 }, (_, i) => `${at(i / 32)},${at(edge(i / 32, layer))}`);
    return `<path fill="${css(layer.colour)}" d="M0,512L${points.join('L')}L512,512z"/>`;
  });
  const foliage = leaves.map(({ from, to, fat }) => {
    const radius = at(arc(Math.hypot(to[0] - from[0], to[1] - from[1]), fat).radius);
    const [a, b] = [`${at(from[0])},${at(from[1])}`, `${at(to[0])},${at(to[1])}`];
    return `<path fill="${css(leaf)}" d="M${a}A${radius},${radius} 0 0 1 ${b}A${radius},${radius} 0 0 1 ${a}z"/>`;
  });
  const { x, top, half } = stalk;
  const bottom = edge(x, layers[0]!) + 0.01;
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512">',
    `<clipPath id="c"><rect width="512" height="512" rx="${at(rounding)}"/></clipPath>`,
    `<g clip-path="url(#c)"><rect width="512" height="512" fill="${css(sky)}"/>`,
    `<rect fill="${css(stem)}" x="${at(x - half)}" y="${at(top)}" width="${at(2 * half)}" height="${at(bottom - top)}"/>`,
    ...strata,
    ...foliage,
    '</g></svg>\n',
  ].join('\n');
}

/** Writes the icons that static/manifest.webmanifest and index.html name. */
export function buildIcons(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'icon.svg'), drawIconSvg());
  // 180: the size that iOS takes for its home screen, and which it rounds itself.
  for (const [name, size, maskable] of [
    ['icon-192.png', 192, false],
    ['icon-512.png', 512, false],
    ['maskable-512.png', 512, true],
    ['touch-180.png', 180, true],
  ] as const) {
    writeFileSync(join(folder, name), drawIconPng(size, maskable));
  }
}
