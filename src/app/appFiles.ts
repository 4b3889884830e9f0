import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { LoamError } from '../base/errors.js';

/** The web app as files to serve. Plain modules, as the compiler wrote them: there is no bundler. */

export interface AppFile {
  body: Buffer;
  /** The same, compressed; absent if that saves nothing. */
  gzip?: Buffer;
  type: string;
  etag: string;
  cacheControl: string;
}

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(here);

/** Modules that a browser cannot find by their bare names; copied beside the page by scripts/build.mjs. */
const libraries: Readonly<Record<string, string>> = {
  preact: join(here, 'vendor', 'preact.js'),
  'preact/hooks': join(here, 'vendor', 'hooks.js'),
  'preact/jsx-runtime': join(here, 'vendor', 'jsx-runtime.js'),
};

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
  await addModule(join(here, 'page', 'main.js'), texts);
  const modules = [...texts.keys()];
  const fixed = join(here, 'page', 'static');
  const css = await Promise.all(styles.map((name) => readText(join(fixed, name))));
  texts.set('/style.css', css.join('\n'));
  texts.set('/manifest.webmanifest', await readText(join(fixed, 'manifest.webmanifest')));
  const preloads = modules.map((path) => `<link rel="modulepreload" href="${path}">`).join('\n    ');
  texts.set('/', (await readText(join(fixed, 'index.html'))).replace('<!-- modules -->', preloads));

  const pictures = new Map<string, Buffer>();
  for (const name of await readdir(join(fixed, 'icons'))) {
    pictures.set(`/icons/${name}`, await readFile(join(fixed, 'icons', name)));
  }

  // The worker keeps a whole version of the page or none of it, so its text names the version.
  const hash = createHash('sha256');
  for (const [path, body] of [...texts, ...pictures]) hash.update(path).update('\0').update(body).update('\0');
  const shell = JSON.stringify([...texts.keys(), '/icons/icon.svg']);
  const version = hash.digest('hex').slice(0, 16);
  const worker = await readText(join(fixed, 'sw.js'));
  texts.set('/sw.js', `const version = '${version}';\nconst shell = ${shell};\n${worker}`);

  const files = new Map<string, AppFile>();
  for (const [path, body] of [...texts, ...pictures]) files.set(path, await appFile(path, Buffer.from(body)));
  return files;
}

/** Adds a module and what it imports, with addresses in place of names. */
async function addModule(file: string, texts: Map<string, string>): Promise<void> {
  const path = addressOf(file);
  if (texts.has(path)) return;
  texts.set(path, '');
  const imported: string[] = [];
  // What the compiler and Preact's build write: `import {...} from "x"`, `import "x"`, `export {...} from "x"`, at the beginning of a
  // line or after a semicolon. No module of the page imports in another way.
  const text = (await readText(file))
    .replace(/\n?\/\/# sourceMappingURL=.*\n?$/, '\n')
    .replace(
      /((?:^|;)(?:import|export)\s*(?:[\w\s*{},$]*?\bfrom\s*)?)(["'])([^"'\n]+)\2/gm,
      (whole, head: string, quote: string, name: string) => {
        const target = libraries[name] ?? (name.startsWith('.') ? resolve(dirname(file), name) : undefined);
        if (target === undefined) return whole;
        imported.push(target);
        return `${head}${quote}${addressOf(target)}${quote}`;
      },
    );
  texts.set(path, text);
  for (const target of imported) await addModule(target, texts);
}

function addressOf(file: string): string {
  return `/js/${relative(dist, file).split(sep).join('/')}`;
}

const types: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
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
        where: relative(dist, file),
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
