import { LoamError } from '../../util/errors.js';
import { quote } from '../../util/quote.js';

/** Names of modules have 40 characters; patterns over all layers a few more. */
const maxLength = 200;
/** With so many repetitions, and none of them of a group, trying a name of 40 characters takes at most some 10^5 steps. */
const maxRepetitions = 3;

/**
 * A key of rank_pattern or alpha_pattern: a regular expression of Python's for the end of a module's name (peft/utils/other.py,
 * get_pattern_key). It comes from a file: only expressions that cannot run for ever are taken.
 */
export class Pattern {
  private readonly expression: RegExp;

  /** @throws LoamError for one that is refused, or is none */
  constructor(key: string, where: string) {
    // `^` at the start is meant as it stands: PEFT's own prefix makes it match there only.
    const repetitions = key.match(/[*+?{]/g)?.length ?? 0;
    const refused = key.length > maxLength || repetitions > maxRepetitions || /\)[*+?{]|\(\?|\\[1-9]/.test(key);
    try {
      if (refused) throw new Error('refused');
      this.expression = new RegExp(`^(?:.*\\.)?(?:${key})$`);
    } catch (cause) {
      const expected = `at most ${maxLength} characters and ${maxRepetitions} repetitions, none of them of a group`;
      throw new LoamError({ found: `the pattern ${quote(key)}`, expected, where }, { cause });
    }
  }

  matches(module: string): boolean {
    return this.expression.test(module);
  }
}
