import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { LoamError } from '../base/errors.js';
import { programPath } from '../base/package.js';

/** The web app as files to serve. Its script is one file, which scripts/build.mjs puts together. */

export interface AppFile {
  body: Buffer;
  /** The same, compressed; absent if that saves nothing. */
  gzip?: Buffer;
  type: string;
  etag: string;
  cacheControl: string;
}

const here = programPath('app');
const root = dirname(here);

/** In the order in which their rules apply. */
const styles = [
  'base.css',
  'frame.css',
  'controls.css',
  'content.css',
  'run.css',
  'talk.css',
  'screens.css',
  'adapters.css',
];

/** Every file of the page, by the path of its address. Throws LoamError if the build is incomplete. */
export async function appFiles(): Promise<ReadonlyMap<string, AppFile>> {
  const texts = new Map<string, string>();
  texts.set('/page.js', await readText(join(here, 'page.js')));
  const fixed = join(here, 'page', 'static');
  const css = await Promise.all(styles.map((name) => readText(join(fixed, name))));
  texts.set('/style.css', css.join('\n'));
  for (const name of await readdir(join(fixed, 'languages'))) {
    texts.set(`/languages/${name}`, await readText(join(fixed, 'languages', name)));
  }
  texts.set('/manifest.webmanifest', await readText(join(fixed, 'manifest.webmanifest')));
  texts.set('/', await readText(join(fixed, 'index.html')));

  const pictures = new Map<string, Buffer>();
  for (const name of await readdir(join(fixed, 'icons'))) {
    pictures.set(`/icons/${name}`, await readFile(join(fixed, 'icons', name)));
  }

  // The worker keeps a whole version of the page or none of it, so its text names the version.
  const hash = createHash('sha256');
  for (const [path, body] of [...texts, ...pictures]) hash.update(path).update('\0').update(body).update('\0');
  // Of the languages it keeps those that are used.
  const shell = JSON.stringify([...[...texts.keys()].filter((path) => !isCatalogue(path)), '/icons/icon.svg']);
  const version = hash.digest('hex').slice(0, 16);
  const worker = await readText(join(fixed, 'sw.js'));
  texts.set('/sw.js', `const version = '${version}';\nconst shell = ${shell};\n${worker}`);

  const files = new Map<string, AppFile>();
  for (const [path, body] of [...texts, ...pictures]) files.set(path, await appFile(path, Buffer.from(body)));
  return files;
}

function isCatalogue(path: string): boolean {
  return path.startsWith('/languages/');
}

const types: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  json: 'application/json; charset=utf-8',
  webmanifest: 'application/manifest+json',
  svg: 'image/svg+xml',
  png: 'image/png',
};

async function appFile(path: string, body: Buffer): Promise<AppFile> {
  const type = types[path === '/' ? 'html' : path.slice(path.lastIndexOf('.') + 1)]!;
  const packed = await promisify(gzip)(body, { level: 9 });
  return {
    body,
    ...(packed.length < body.length && { gzip: packed }),
    type,
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    // Always revalidated, and answered 304: after an update no page mixes two versions.
    cacheControl: 'no-cache',
  };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new LoamError(
      {
        code: 'not-found',
        found: 'a file of the web app is missing',
        where: relative(root, file),
        fix: 'build again with `npm run build`',
      },
      { cause },
    );
  }
}

/**
 * What the page may do: its own scripts, styles and pictures, and requests to its own server; nothing inline, nothing from elsewhere.
 * Trusted Types leave no way from a string to HTML or script, whatever a model answers; the one policy that may be made is that of
 * the service worker's address (src/app/page/browser.ts).
 */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types loam-worker',
].join('; ');
