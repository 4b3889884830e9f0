import { UsageError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import { flagOf } from '../base/options.js';
import type { OpenedRun } from './lab.js';
import { type TuneOptions, tuneOptions } from './options.js';
import { ridgeOptionNames } from './ridgeStart.js';

/** Options that a method has no use for: what is asked for and not done must not go unnoticed. */

const ofGradients = [
  'start',
  'memory',
  ...(['epochs', 'batch', 'lr', 'targets', 'rsLora', 'loraPlus', 'dropout', 'weightDecay'] as const),
  ...(['warmup', 'clip', 'averaging', 'runs', 'patience'] as const),
] as const;

/**
 * @param isForeign whether ridge is all there is for the model
 * @returns a sentence on options that change nothing; undefined if there are none
 * @throws UsageError for an adapter that would not be used
 */
function unusedOptions(options: TuneOptions, isForeign: boolean): string | undefined {
  const { method, start, teacher } = options;
  if (method === 'ridge' && start !== undefined) {
    throw new UsageError({
      found: 'an adapter to start from with --method ridge, which begins with the base model',
      where: '--start',
      fix: isForeign ? 'leave it out' : 'use --method qlora or auto, or leave it out',
    });
  }
  if (method === 'qlora' && teacher !== undefined) {
    throw new UsageError({
      found: 'a teacher with --method qlora, which has none',
      where: '--teacher',
      fix: 'use --method ridge or auto, or leave it out',
    });
  }
  const ridgeAlone = method === 'ridge' || isForeign;
  const unused = ridgeAlone ? ofGradients : method === 'qlora' || start !== undefined ? ridgeOptionNames : [];
  const changed = unused.filter((name) => {
    const { default: usual } = tuneOptions[name] as { default?: unknown };
    return options[name] !== undefined && options[name] !== usual && options[name] !== false;
  });
  if (changed.length === 0) return undefined;
  const names = listFirst(changed.map(flagOf), changed.length, ', ');
  return `${ridgeAlone ? 'ridge' : 'training by gradients'} has no use for ${names}: nothing changes by it`;
}

/** Tells of them. @throws UsageError as `unusedOptions` */
export function tellUnused({ model, emit }: Pick<OpenedRun, 'model' | 'emit'>, options: TuneOptions): void {
  const message = unusedOptions(options, model.hyper.family.isForeign === true);
  if (message !== undefined) emit({ type: 'warning', message });
}
