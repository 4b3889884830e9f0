import { t } from './language.js';

/** How easily a passphrase is guessed, as far as its form tells. */

/** Guesses (as a power of two) below which somebody with the device finds it in days: one guess costs about a second. */
const WEAK = 40;

/** Bits of a random choice that looks like this: words count as of a list of 2,000, other letters by the kinds that occur. */
export function bitsOf(passphrase: string): number {
  const words = passphrase
    .trim()
    .split(/[\s\-_.,]+/)
    .filter((word) => word !== '');
  const different = new Set(words.map((word) => word.toLowerCase()));
  const letters = [...new Set(passphrase)].length;
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^a-zA-Z\d\s]/].filter((kind) => kind.test(passphrase)).length;
  const asLetters = Math.min([...passphrase].length, 2 * letters) * [0, 2.5, 3.5, 4.5, 5][kinds]!;
  const asWords = [...different].reduce((sum, word) => sum + (word.length > 2 ? 11 : 4), 0);
  return words.length > 1 ? asWords : asLetters;
}

/** What to say of one that is being chosen; undefined if there is nothing to say. */
export function weaknessOf(passphrase: string): string | undefined {
  if (passphrase === '' || bitsOf(passphrase) >= WEAK) return undefined;
  return t('Easy to guess. Four words that have nothing to do with each other are better.');
}
