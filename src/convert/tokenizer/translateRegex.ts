/** Escapes and properties of Oniguruma that mean the same in JavaScript, as far as published tokenisers use them. */

/** Letters in both cases, for (?i:...), which JavaScript knows only in its newest version. */
function ignoreCase(body: string): string {
  return body.replace(/[a-zA-Z]/g, (letter) => `[${letter.toLowerCase()}${letter.toUpperCase()}]`);
}

const scripts = /\\([pP])\{(Han|Hiragana|Katakana|Hangul|Arabic|Hebrew|Latin|Greek|Cyrillic|Thai|Lao)\}/g;

/**
 * A regular expression of tokenizer.json (Oniguruma) as one of JavaScript.
 * @returns undefined where it uses what JavaScript does not have
 */
export function translateRegex(pattern: string): RegExp | undefined {
  // Only groups of plain letters: anything else within would need a parser.
  const translated = pattern
    .replace(/\(\?i:([a-zA-Z'|]+)\)/g, (_, body: string) => `(?:${ignoreCase(body)})`)
    .replace(scripts, '\\$1{Script=$2}')
    // Possessive quantifiers: what they match here is the same, only found without trying again.
    .replace(/([*+?]|\{\d+(?:,\d*)?\})\+/g, '$1');
  try {
    return new RegExp(translated, 'gu');
  } catch {
    return undefined;
  }
}
