import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { before, it } from 'node:test';
import { inflateSync } from 'node:zlib';
import { crc32 } from '../base/crc32.js';
import { type AppFile, appFiles, contentSecurityPolicy } from './appFiles.js';

let files: ReadonlyMap<string, AppFile>;
before(async () => {
  files = await appFiles();
});
const textOf = (path: string) => files.get(path)!.body.toString('utf8');
const modules = () => [...files.keys()].filter((path) => path.startsWith('/js/'));

/** Bytes that a first visit loads: the page and all that it names. */
const budget = 200_000;

/** Addresses that a module imports. */
function importsOf(path: string): string[] {
  const statements = /(?:^|;)(?:import|export)\s*(?:[\w\s*{},$]*?\bfrom\s*)?["']([^"'\n]+)["']/gm;
  return [...textOf(path).matchAll(statements)].map(([, name]) =>
    name!.startsWith('/') ? name! : join(dirname(path), name!),
  );
}

it('everything that a module imports is a module of the page', () => {
  assert.ok(modules().length > 20);
  for (const path of modules()) {
    const imports = importsOf(path);
    for (const target of imports) assert.ok(files.has(target), `${path} imports ${target}`);
    if (/\bfrom\s*["'][./a-z]/.test(textOf(path))) assert.ok(imports.length > 0, path);
    assert.doesNotMatch(textOf(path), /\bimport\s*\(|sourceMappingURL/);
  }
});

it('of the contract the page takes types and no code', () => {
  assert.deepEqual(
    modules().filter((path) => /typebox|\/js\/(serve\/contract|llama|examples|store)\//.test(path)),
    [],
  );
});

it('no module of the page imports itself by way of others', () => {
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    assert.ok(!way.includes(path), [...way, path].join(' -> '));
    if (done.has(path)) return;
    for (const target of importsOf(path)) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of modules()) visit(path, []);
});

it('the page names nothing of another host', () => {
  // Names of XML namespaces are no addresses; the last is an example in a form.
  const harmless = /http:\/\/www\.w3\.org\/[\w/]+|http:\/\/127\.0\.0\.1:(…|\\u2026)/g;
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
    assert.match(attributes!, /\bsrc="\/js\//);
    assert.equal(body, '');
  }
  assert.doesNotMatch(html, /<style|\bstyle=|\bon\w+=|javascript:/);
  assert.doesNotMatch(contentSecurityPolicy, /unsafe|\*|https?:|data:/);
  assert.match(contentSecurityPolicy, /^default-src 'none';/);
});

it('nothing turns text into HTML', () => {
  for (const path of modules()) {
    if (path.startsWith('/js/app/vendor/')) continue;
    assert.doesNotMatch(
      textOf(path),
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
  for (const path of ['/', '/style.css', '/manifest.webmanifest', ...modules()]) assert.ok(shell.includes(path), path);
  for (const path of shell) assert.ok(files.has(path), path);
  assert.match(worker, /^const version = '[0-9a-f]{16}';/);
});

it('a first visit loads less than 200 kB compressed', () => {
  const first = ['/', '/style.css', '/manifest.webmanifest', '/icons/icon.svg', ...modules()];
  const bytes = first.reduce((sum, path) => sum + (files.get(path)!.gzip ?? files.get(path)!.body).length, 0);
  assert.ok(bytes < budget, `${bytes} bytes`);
});
