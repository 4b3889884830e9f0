/** Characters of a value shown in a sentence: a SHA-256 fits. */
const SHOWN = 80;

/**
 * What differs between two plain JSON objects, key by key, nested keys joined by dots: one sentence a difference, in the order of
 * `expected`, then keys only `found` has. Keys that are undefined count as absent; lists are compared as a whole.
 *
 * @param found as it is now
 * @param expected as it was when the run began
 */
export function compareIdentity(found: Record<string, unknown>, expected: Record<string, unknown>): string[] {
  const [now, then] = [flatten(found), flatten(expected)];
  return [...new Set([...then.keys(), ...now.keys()])]
    .filter((key) => now.get(key) !== then.get(key))
    .map((key) => `${key}: found ${show(now.get(key))}, expected ${show(then.get(key))}.`);
}

/** Leaves by their path, as JSON text. */
function flatten(identity: Record<string, unknown>): Map<string, string> {
  const leaves = new Map<string, string>();
  const visit = (value: unknown, path: string) => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) visit(inner, path === '' ? key : `${path}.${key}`);
    } else {
      leaves.set(path, JSON.stringify(value));
    }
  };
  // Both sides as they would stand in the file.
  visit(JSON.parse(JSON.stringify(identity)), '');
  return leaves;
}

function show(leaf: string | undefined): string {
  if (leaf === undefined) return 'nothing';
  return leaf.length > SHOWN ? `${leaf.slice(0, SHOWN)}…` : leaf;
}
