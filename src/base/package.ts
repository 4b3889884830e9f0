import { fileURLToPath } from 'node:url';

/**
 * Where Loam's own files lie. Only this module asks for its own place: it is one folder below the programs, which are one folder below
 * the package, both as it is compiled (`dist`) and as it is bundled (`lib`).
 */
const programs = new URL('../', import.meta.url);

/** @param name of a program, or of what the page is made of, such as "model/proofWorker.js" */
export function programPath(name: string): string {
  return fileURLToPath(new URL(name, programs));
}

/** @param name of a file in the package, such as "assets/general/replay.json" */
export function packagePath(name: string): string {
  return fileURLToPath(new URL(`../${name}`, programs));
}
