import { UsageError } from '../util/errors.js';
import { CATALOG } from './catalog.js';
import { nearestNames } from './nearestNames.js';
import type { ModelEntry } from './types.js';

/** The catalogue's entry of that name. UsageError with the nearest names when there is none. */
export function findModel(name: string): ModelEntry {
  const entry = CATALOG.find((e) => e.name === name);
  if (entry !== undefined) return entry;
  const names = CATALOG.map((e) => e.name);
  const near = nearestNames(name, names);
  throw new UsageError({
    found: `there is no model named ${JSON.stringify(name)} in the catalogue`,
    fix: near.length > 0 ? `did you mean ${near.join(' or ')}` : `the catalogue has ${names.join(', ')}`,
  });
}
