import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files in which the kernel reports (/proc, /sys). They are read synchronously: no disk is involved. */

/** Undefined if the file is not there, may not be read, or belongs to a driver without an answer (ENODATA). */
export function readKernelFile(...path: string[]): string | undefined {
  try {
    return readFileSync(join(...path), 'latin1').trim();
  } catch {
    return undefined;
  }
}

/** A whole number; undefined for anything else. */
export function readKernelNumber(...path: string[]): number | undefined {
  return wholeNumber(readKernelFile(...path));
}

export function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

/** Names in a folder, sorted; none if it is not there. */
export function listKernelFolder(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch {
    return [];
  }
}
