/**
 * Which rows of a long list are worth having in the document: those in view and `spare` rows on either side. Rows are all of one
 * height. `to` is exclusive.
 */
export function visibleRange(
  view: { top: number; height: number },
  list: { rows: number; rowHeight: number },
  spare = 8,
): { from: number; to: number } {
  const first = Math.floor(view.top / list.rowHeight);
  const last = Math.ceil((view.top + view.height) / list.rowHeight);
  const from = Math.min(Math.max(0, first - spare), list.rows);
  return { from, to: Math.max(from, Math.min(list.rows, last + spare)) };
}
