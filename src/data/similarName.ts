/** Edits (insert, delete, replace, swap of neighbours) from `a` to `b`: optimal string alignment, Damerau 1964. */
function edits(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      next.push(least);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}

function plain(name: string): string {
  return name.trim().toLowerCase();
}

/**
 * The name among `names` that was probably meant to be `wanted`: the same but for case and outer space, or (with `typos`) one
 * edit away, two for words of more than 5 letters.
 */
export function similarName(wanted: string, names: readonly string[], typos = true): string | undefined {
  const same = names.find((name) => plain(name) === wanted);
  if (same !== undefined || !typos) return same;
  const most = wanted.length > 5 ? 2 : 1;
  return names.find((name) => {
    const spelt = plain(name);
    return Math.abs(spelt.length - wanted.length) <= most && edits(spelt, wanted) <= most;
  });
}
