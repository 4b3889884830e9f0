/** Digits that stand together, with the separators that people write between them. */
export interface NumberRun {
  start: number;
  end: number;
  groups: { start: number; end: number }[];
  /** A letter, digit or underscore touches it on the left or right, so that it is part of a word. */
  gluedLeft: boolean;
  gluedRight: boolean;
}

/** Longer runs are tables or measurements, of which the first groups are enough. */
const MAX_GROUPS = 64;
const SEPARATORS = new Set([' ', '-', '.', '/', ') ', ')', '(', ' (', ')-', ' - ', ' / ', '/ ', '-(', ') - ', ').']);

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Letters that make a number part of a word. Those of scripts that write no spaces (from Thai on, but Greek's extension) do not. */
function isWord(code: number): boolean {
  if (code >= 0xc0) return code < 0xe00 || (code >= 0x1e00 && code < 0x2000);
  return isDigit(code) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95;
}

/** All numbers of a flattened text, in order. A run that is glued to letters is kept: identifiers have letters. */
export function numberRuns(text: string): NumberRun[] {
  const runs: NumberRun[] = [];
  let at = 0;
  while (at < text.length) {
    if (!isDigit(text.charCodeAt(at))) {
      at++;
      continue;
    }
    const first = at;
    const groups: NumberRun['groups'] = [];
    for (;;) {
      const start = at;
      while (at < text.length && isDigit(text.charCodeAt(at))) at++;
      groups.push({ start, end: at });
      let next = at;
      while (next < text.length && next - at < 4 && !isDigit(text.charCodeAt(next))) next++;
      if (groups.length === MAX_GROUPS || next >= text.length || !isDigit(text.charCodeAt(next))) break;
      if (!SEPARATORS.has(text.slice(at, next))) break;
      at = next;
    }
    let start = first;
    if (text[start - 1] === '+') start--;
    if (text[start - 1] === '(') start--;
    const gluedLeft = isWord(text.charCodeAt(start - 1));
    runs.push({ start, end: at, groups, gluedLeft, gluedRight: isWord(text.charCodeAt(at)) });
  }
  return runs;
}

/** Digits of the groups from `first` to `last`. */
export function digitsIn(groups: NumberRun['groups'], first: number, last: number): number {
  let digits = 0;
  for (let i = first; i <= last; i++) digits += groups[i]!.end - groups[i]!.start;
  return digits;
}
