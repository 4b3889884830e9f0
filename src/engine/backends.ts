import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fn, int, Library, MissingFunctions } from './ffi.js';
import type { bindGgml } from './ggmlBindings.js';

/**
 * Which backends are loaded. ggml's own `ggml_backend_load_all` takes all that lie beside the libraries, and a GPU's driver is started
 * by that alone: on phones it may crash. Loam computes on the processor only.
 */

type Ggml = Pick<ReturnType<typeof bindGgml>, 'loadBackends' | 'loadBackend' | 'deviceCount'>;

const score = { score: fn('ggml_backend_score', int, []) };

/** How well a build of the CPU backend suits this processor; 0 if it does not run here, undefined for one that suits any. */
function scoreOf(path: string): number | undefined {
  try {
    const library = new Library(path, false);
    try {
      return library.functions(score).score();
    } finally {
      library.unload();
    }
  } catch (error) {
    return error instanceof MissingFunctions ? undefined : 0;
  }
}

/**
 * Loads the CPU's backend in the libraries' folder, of whose builds the one that suits this processor best (as
 * `ggml_backend_load_best` has it). Libraries that have their CPU backend built in need none.
 */
export function loadBackends(ggml: Ggml, folder: string): void {
  // What the packages for macOS and Windows bring beside it does no harm.
  if (process.platform === 'darwin' || process.platform === 'win32') {
    ggml.loadBackends(folder);
    return;
  }
  if (Number(ggml.deviceCount()) > 0) return;
  const names = readdirSync(folder).sort();
  const scored = names
    .filter((name) => /^libggml-cpu-.*\.so$/.test(name))
    .map((name) => ({ name, score: scoreOf(join(folder, name)) ?? 0 }))
    .sort((a, b) => b.score - a.score);
  const [best] = scored;
  const chosen = best && best.score > 0 ? best.name : names.find((name) => name === 'libggml-cpu.so');
  if (chosen !== undefined) ggml.loadBackend(join(folder, chosen));
}
