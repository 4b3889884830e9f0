import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LoamError } from '../base/errors.js';

/** Where the shared libraries of ggml and llama.cpp were found; all paths are absolute. */
export interface LibraryFiles {
  /** Folder that also holds the backends (`ggml-cpu-*`, `ggml-metal`, ...), loaded by ggml itself. */
  folder: string;
  /** What pointed here: `LOAM_GGML_DIR`, the name of an npm package, `install.sh` (the archive that it fetches) or `system`. */
  source: string;
  base: string;
  ggml: string;
  llama: string;
}

/** Packages by platform. */
const packages: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

/** Versioned names occur ("libggml.v0.4.0.so", "libllama.metal.v0.4.0.dylib"), so the stem must not match "libggml-cpu" or "libllama-common". */
function pick(names: string[], stem: string): string | undefined {
  const pattern = new RegExp(`^(?:lib)?${stem}(?:\\.[a-z]+)?(?:\\.v?\\d+(?:\\.\\d+)*)?\\.(?:so|dylib|dll)$`);
  return names.filter((name) => pattern.test(name)).sort((a, b) => a.length - b.length)[0];
}

function librariesIn(folder: string, source: string): LibraryFiles | undefined {
  if (!existsSync(folder)) return undefined;
  const names = readdirSync(folder);
  const [base, ggml, llama] = [pick(names, 'ggml-base'), pick(names, 'ggml'), pick(names, 'llama')];
  if (!base || !ggml || !llama) return undefined;
  return { folder, source, base: join(folder, base), ggml: join(folder, ggml), llama: join(folder, llama) };
}

function librariesOfPackage(name: string): LibraryFiles | undefined {
  try {
    // The packages export only their entry file, so the folder is found beside it: <package>/dist/index.js -> <package>/bins/<variant>.
    const entry = createRequire(import.meta.url).resolve(`@node-llama-cpp/${name}`);
    const bins = join(dirname(dirname(entry)), 'bins');
    for (const variant of existsSync(bins) ? readdirSync(bins) : []) {
      const found = librariesIn(join(bins, variant), `@node-llama-cpp/${name}`);
      if (found) return found;
    }
  } catch {
    // Not installed for this platform: the caller tries the next place.
  }
  return undefined;
}

/** The releases of llama.cpp whose functions and structures are those that Loam knows. */
export const releases = 'v0.4.0 or v0.5.0';

/** What to do about libraries that do not fit, by where they came from. */
export function remedy({ source }: Pick<LibraryFiles, 'source'>): string {
  if (source === 'LOAM_GGML_DIR')
    return `unset LOAM_GGML_DIR, or point it at a build of llama.cpp ${releases} for this system`;
  if (source === 'system' || source === 'install.sh')
    return 'run `sh scripts/install.sh update`, which fetches such a build';
  return 'install Loam again (`npm ci` in a checkout, else as it was installed)';
}

/** Whether this is a Linux without glibc, such as Alpine with musl: the packaged engine does not load there. */
export function otherLibc(): boolean {
  if (process.platform !== 'linux') return false;
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined;
}

export const muslFix = `use a Linux with glibc, such as Debian, or build llama.cpp ${releases} here with shared libraries and name their folder in LOAM_GGML_DIR`;

/**
 * Finds the engine's libraries: in `LOAM_GGML_DIR` if it is set, else in the npm package of this platform, else (Termux) where
 * `scripts/install.sh` puts them, or in `$PREFIX/lib`, where `pkg install llama-cpp` does. Throws LoamError that says what to install.
 */
export function locateLibraries(): LibraryFiles {
  const override = process.env.LOAM_GGML_DIR;
  if (override) {
    const found = librariesIn(override, 'LOAM_GGML_DIR');
    if (found) return found;
    throw new LoamError({
      code: 'engine',
      found: 'no ggml-base, ggml and llama libraries in this folder',
      where: `LOAM_GGML_DIR=${override}`,
      fix: 'point it at a folder with the three shared libraries, or unset it to use the packaged ones',
    });
  }
  const platform = `${process.platform}-${process.arch}`;
  const name = packages[platform];
  const packaged = name && librariesOfPackage(name);
  if (packaged) return packaged;
  const prefix = process.env.PREFIX;
  const fetched = prefix && librariesIn(join(prefix, 'opt', 'loam', 'engine'), 'install.sh');
  if (fetched) return fetched;
  const system = prefix && librariesIn(join(prefix, 'lib'), 'system');
  if (system) return system;
  throw new LoamError({
    code: 'engine',
    found: `no engine libraries for ${platform}`,
    expected: name ? `the npm package @node-llama-cpp/${name}` : 'LOAM_GGML_DIR to name their folder',
    fix: missingFix(),
  });
}

function missingFix(): string {
  if (process.platform === 'android') return "run `sh scripts/install.sh` in Loam's folder, which fetches them";
  if (otherLibc()) return muslFix;
  return `install again without --omit=optional, or set LOAM_GGML_DIR to a build of llama.cpp ${releases} with shared libraries`;
}
