import { LoamError } from '../util/errors.js';

/** Throws the mismatches between an adapter and its base as one error; nothing where there are none. */
export function throwProblems(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  throw new LoamError({
    found: `this adapter does not fit the base model: ${problems.slice(0, 5).join('; ')}${more}`,
    where: path,
    fix: 'choose the base model it was made for with --model, or fetch the adapter again',
  });
}
