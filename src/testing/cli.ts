import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LoamOptions, type LoamRun, runLoam } from './runLoam.js';
import { scratchFolder } from './scratch.js';
import { type TinyModelOptions, writeTinyModel } from './tinyModel.js';

/** What the tests of the command line share: a tiny model, example files, folders to look at afterwards. */

export interface Pair {
  instruction: string;
  input: string;
  output: string;
}

/** Examples with different questions and few different answers. */
export function sayings(n: number, from = 0): Pair[] {
  return Array.from({ length: n }, (_, i) => ({
    instruction: `Say number ${from + i}`,
    input: '',
    output: `the thing in the ${['inn', 'inner tin', 'theatre'][i % 3]}`,
  }));
}

/** A scratch folder with its own LOAM_HOME. */
export class Desk {
  readonly folder = scratchFolder();
  readonly home = join(this.folder, 'home');

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes a file, JSON unless it is text or bytes; returns its path. */
  file(name: string, content: unknown): string {
    const path = this.path(name);
    writeFileSync(
      path,
      typeof content === 'string' || content instanceof Uint8Array ? content : JSON.stringify(content),
    );
    return path;
  }

  model(name: string, options: TinyModelOptions = {}): Promise<string> {
    return writeTinyModel(this.path(name), options);
  }

  /** A new empty folder. */
  newFolder(name: string): string {
    const path = this.path(name);
    mkdirSync(path);
    return path;
  }

  run(args: readonly string[], options: Partial<LoamOptions> = {}): Promise<LoamRun> {
    return runLoam(args, { home: this.home, cwd: this.folder, ...options });
  }
}

/** Every file below a folder with the hash of its content: equal before and after means that nothing was written. */
export function contents(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    names.map((entry) => {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      return [path, createHash('sha256').update(readFileSync(path)).digest('hex')];
    }),
  );
}
