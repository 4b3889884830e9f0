/** Edits (insert, delete, replace) that turn one word into another (Levenshtein 1966; Wagner and Fischer's table, two rows). */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** Up to three of `names` that a person may have meant: they contain the word, or differ from it in under half its letters. */
export function nearestNames(word: string, names: readonly string[]): string[] {
  const plain = (s: string) => s.toLowerCase().replace(/[^a-z0-9]/g, '');
  // A word longer than any name can only be noise, and the table grows with its length.
  const wanted = plain(word.slice(0, 100));
  if (wanted === '') return [];
  return names
    .map((name) => {
      // People leave the size out: "tinyllama" for "tinyllama-1.1b".
      const pieces = name.split('-');
      const starts = pieces.map((_, i) => plain(pieces.slice(0, i + 1).join('-')));
      const inside = plain(name).includes(wanted) || starts.some((start) => start.length > 3 && wanted.includes(start));
      return { name, cost: inside ? 0 : Math.min(...starts.map((start) => distance(wanted, start))) };
    })
    .filter(({ cost }) => cost < Math.max(2, wanted.length / 2))
    .sort((a, b) => a.cost - b.cost)
    .slice(0, 3)
    .map(({ name }) => name);
}
