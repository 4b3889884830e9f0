import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, it } from 'node:test';
import { inflateSync } from 'node:zlib';
import { crc32 } from '../base/crc32.js';
import { type AppFile, appFiles, contentSecurityPolicy } from './appFiles.js';

let files: ReadonlyMap<string, AppFile>;
before(async () => {
  files = await appFiles();
});
const textOf = (path: string) => files.get(path)!.body.toString('utf8');

/** What the script was put together from: paths in the checkout, and those of what each imports. */
const { inputs } = JSON.parse(readFileSync(new URL('../testing/page.meta.json', import.meta.url), 'utf8')) as {
  inputs: Readonly<Record<string, { imports: readonly { path: string; external?: boolean }[] }>>;
};
const own = Object.keys(inputs).filter((path) => path.startsWith('dist/'));

/** Bytes that a first visit loads: the page and all that it names. */
const budget = 200_000;

it('the script is whole: it imports nothing, and of libraries it has those that are listed', () => {
  assert.ok(own.length > 20);
  for (const [path, { imports }] of Object.entries(inputs)) {
    for (const { path: target, external } of imports)
      assert.ok(!external && inputs[target], `${path} imports ${target}`);
  }
  assert.doesNotMatch(textOf('/page.js'), /(?:^|[;}])import\b|\bimport\s*\(|sourceMappingURL/);
  const libraries = Object.keys(inputs).filter((path) => !path.startsWith('dist/'));
  const names = new Set(libraries.map((path) => /node_modules\/([^/]+)\//.exec(path)?.[1] ?? path));
  assert.deepEqual([...names].sort(), ['marked', 'preact']);
});

it('of the contract the page takes types and no code', () => {
  assert.deepEqual(
    own.filter((path) => /typebox|^dist\/(serve\/contract|llama|examples|store)\//.test(path)),
    [],
  );
});

it('no module of the page imports itself by way of others', () => {
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    assert.ok(!way.includes(path), [...way, path].join(' -> '));
    if (done.has(path)) return;
    for (const { path: target } of inputs[path]!.imports) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of own) visit(path, []);
});

it('the page names nothing of another host', () => {
  // Names of XML namespaces are no addresses; then an example in a form, where marked comes from, and what it puts before "www.".
  const harmless =
    /http:\/\/www\.w3\.org\/[\w/]+|http:\/\/127\.0\.0\.1:(…|\\u2026)|https:\/\/github\.com\/markedjs\/marked\b|"http:\/\/"\+t\[0\]/g;
  for (const path of files.keys()) {
    if (path.endsWith('.png')) continue;
    assert.doesNotMatch(
      textOf(path).replace(harmless, ''),
      /(https?|wss?):\/\/|@import|\burl\(\s*["']?(?!#)\w+:/,
      path,
    );
  }
});

it('no script and no style stands in the page itself, and the policy allows none', () => {
  const html = textOf('/');
  for (const [, attributes, body] of html.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)) {
    assert.match(attributes!, /\bsrc="\/page\.js"/);
    assert.equal(body, '');
  }
  assert.doesNotMatch(html, /<style|\bstyle=|\bon\w+=|javascript:/);
  assert.doesNotMatch(contentSecurityPolicy, /unsafe|\*|https?:|data:/);
  assert.match(contentSecurityPolicy, /^default-src 'none';/);
});

it('nothing turns text into HTML', () => {
  for (const path of own) {
    assert.doesNotMatch(
      readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/,
      path,
    );
  }
});

/** "192x192", of a PNG whose chunks, checksums and rows of pixels are whole. */
function sizeOf(png: Buffer): string {
  assert.equal(png.toString('hex', 0, 8), '89504e470d0a1a0a');
  const data: Buffer[] = [];
  let type = '';
  let at = 8;
  while (at < png.length) {
    const length = png.readUInt32BE(at);
    const body = png.subarray(at + 4, at + 8 + length);
    type = body.toString('latin1', 0, 4);
    assert.equal(png.readUInt32BE(at + 8 + length), crc32(body), type);
    if (type === 'IDAT') data.push(body.subarray(4));
    at += 12 + length;
  }
  assert.equal(at, png.length);
  assert.equal(type, 'IEND');
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  // 8 bits of each of red, green, blue and alpha, and a filter before each row.
  assert.deepEqual([...png.subarray(24, 29)], [8, 6, 0, 0, 0]);
  assert.equal(inflateSync(Buffer.concat(data)).length, height * (1 + 4 * width));
  return `${width}x${height}`;
}

it('what the page and its manifest name is there, and its icons are PNGs of the size that they state', () => {
  for (const [, path] of textOf('/').matchAll(/\b(?:href|src)="([^"]+)"/g)) assert.ok(files.has(path!), path);
  const { icons } = JSON.parse(textOf('/manifest.webmanifest')) as { icons: { src: string; sizes: string }[] };
  assert.ok(icons.length >= 3);
  for (const { src, sizes } of icons) {
    assert.ok(files.has(src), src);
    if (!src.endsWith('.png')) continue;
    assert.equal(sizeOf(files.get(src)!.body), sizes);
  }
  assert.equal(sizeOf(files.get('/icons/touch-180.png')!.body), '180x180');
  assert.doesNotMatch(textOf('/icons/icon.svg'), /href|<script/);
});

it('the worker keeps the whole page, and its text changes with any file', () => {
  const worker = textOf('/sw.js');
  const shell = JSON.parse(/const shell = (\[.*\]);/.exec(worker)![1]!) as string[];
  for (const path of ['/', '/style.css', '/manifest.webmanifest', '/page.js']) assert.ok(shell.includes(path), path);
  for (const path of shell) assert.ok(files.has(path) && !path.startsWith('/languages/'), path);
  assert.match(worker, /^const version = '[0-9a-f]{16}';/);
});

it('a first visit loads less than 200 kB compressed, in any language', () => {
  const first = ['/', '/style.css', '/manifest.webmanifest', '/icons/icon.svg', '/page.js'];
  const packed = (path: string) => (files.get(path)!.gzip ?? files.get(path)!.body).length;
  const catalogues = [...files.keys()].filter((path) => path.startsWith('/languages/'));
  assert.ok(catalogues.length > 1);
  const bytes = first.reduce((sum, path) => sum + packed(path), Math.max(...catalogues.map(packed)));
  assert.ok(bytes < budget, `${bytes} bytes`);
});
