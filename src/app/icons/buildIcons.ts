import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawIconPng, drawIconSvg } from './drawIcon.js';

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
