import { flatten } from './flatten.js';
import type { FindingKind } from './types.js';

/** Equal for two ways of writing the same value: separators of a number and the case of an address do not count. */
export function valueKey(kind: FindingKind, value: string): string {
  const flat = flatten(value);
  switch (kind) {
    case 'phone':
    case 'card':
      return flat.replace(/\D/g, '');
    case 'iban':
    case 'id-number':
    case 'account':
      return flat.replace(/[^\p{L}\p{N}]/gu, '').toUpperCase();
    case 'email':
    case 'address':
    case 'name':
    case 'date-of-birth':
      return flat.replace(/\s+/g, ' ').trim().toLowerCase();
    default:
      return flat;
  }
}
