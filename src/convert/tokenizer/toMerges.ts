import type { HfFolder } from '../HfFolder.js';
import { isList, listAt } from '../json.js';

/** A space inside a part would end it: its stand-in of byte-level BPE instead (vocab.py, SpecialVocab). */
const encodeSpaces = (part: unknown): string => String(part).replaceAll(' ', String.fromCharCode(32 + 256));

/** Merges as GGUF stores them, "left right", from tokenizer.json in either of its forms, or from merges.txt. */
export function toMerges(folder: HfFolder): string[] {
  const merges = listAt(folder.tokenizer, 'model', 'merges');
  if (merges.length > 0) {
    return merges.map((merge) => (isList(merge) ? merge.map(encodeSpaces).join(' ') : String(merge)));
  }
  const lines = (folder.mergesText ?? '').split('\n').map((line) => line.trim());
  const from = lines[0]?.startsWith('#') ? 1 : 0;
  return lines
    .slice(from)
    .map((line) => line.split(/\s+/))
    .filter((parts) => parts.length === 2)
    .map((parts) => parts.join(' '));
}
