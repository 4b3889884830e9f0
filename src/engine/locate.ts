import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LoamError } from '../base/errors.js';

/** Where the shared libraries of ggml and llama.cpp were found; all paths are absolute. */
export interface LibraryFiles {
  /** Folder that also holds the backends (`ggml-cpu-*`, `ggml-metal`, ...), loaded by ggml itself. */
  folder: string;
  /** What pointed here: `LOAM_GGML_DIR`, the name of an npm package, or `system`. */
  source: string;
  base: string;
  ggml: string;
  llama: string;
}

/** Packages by platform. With LOAM_GPU set, a GPU variant that the user installed beside the default one comes first. */
const packages: Record<string, { cpu: string; gpu: string[] }> = {
  'linux-x64': { cpu: 'linux-x64', gpu: ['linux-x64-cuda', 'linux-x64-vulkan'] },
  'linux-arm64': { cpu: 'linux-arm64', gpu: [] },
  'darwin-arm64': { cpu: 'mac-arm64-metal', gpu: [] },
  'darwin-x64': { cpu: 'mac-x64', gpu: [] },
  'win32-x64': { cpu: 'win-x64', gpu: ['win-x64-cuda', 'win-x64-vulkan'] },
  'win32-arm64': { cpu: 'win-arm64', gpu: [] },
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

/**
 * Finds the engine's libraries: in `LOAM_GGML_DIR` if it is set, else in the npm package of this platform, else (Termux) in `$PREFIX/lib`,
 * where `pkg install llama-cpp` puts them. Throws LoamError that says what to install.
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
  const entry = packages[platform];
  const wanted = entry ? [...(process.env.LOAM_GPU ? entry.gpu : []), entry.cpu] : [];
  for (const name of wanted) {
    const found = librariesOfPackage(name);
    if (found) return found;
  }
  const prefix = process.env.PREFIX;
  const system = prefix ? librariesIn(join(prefix, 'lib'), 'system') : undefined;
  if (system) return system;
  throw new LoamError({
    code: 'engine',
    found: `no engine libraries for ${platform}`,
    expected: wanted.length ? `the npm package @node-llama-cpp/${wanted.at(-1)}` : 'LOAM_GGML_DIR to name their folder',
    fix:
      process.platform === 'android'
        ? 'run `pkg install llama-cpp` in Termux'
        : 'install again without --omit=optional, or set LOAM_GGML_DIR to a llama.cpp build with shared libraries',
  });
}
