/** When ridge goes before training by gradients. The page imports this too, so it imports nothing. */

/** Options that only ridge has a use for. */
export const ridgeOptionNames = ['teacher', 'shots', 'lambda', 'sweeps'] as const;

type Told = Partial<Record<'method' | 'start' | (typeof ridgeOptionNames)[number], unknown>>;

/**
 * Whether `auto` computes ridge's factors as a possible start of training: only if an option of ridge asks for it, because it takes a
 * quarter of the time and more, and gains nothing (docs/method.md).
 */
export function hasRidgeStart(options: Told): boolean {
  const { method = 'auto', start } = options;
  return method === 'auto' && start === undefined && ridgeOptionNames.some((name) => options[name] !== undefined);
}
