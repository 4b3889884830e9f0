import { bytes, count, duration } from '../util/format.js';
import type { StepMetric } from './reportInput.js';

/** Rows that a person still reads. */
const ROWS = 40;

const columns: { key: keyof StepMetric; title: string; show: (n: number) => string }[] = [
  { key: 'step', title: 'Step', show: count },
  { key: 'epoch', title: 'Epoch', show: (n) => n.toFixed(2) },
  { key: 'loss', title: 'Loss', show: (n) => n.toPrecision(4) },
  { key: 'validation', title: 'Validation', show: (n) => n.toPrecision(4) },
  { key: 'learningRate', title: 'Learning rate', show: (n) => (n === 0 ? '0' : n.toExponential(2)) },
  { key: 'gradientNorm', title: 'Gradient norm', show: (n) => n.toPrecision(3) },
  { key: 'tokensPerSecond', title: 'Tokens/s', show: (n) => count(Math.round(n)) },
  { key: 'rssBytes', title: 'Memory', show: bytes },
  { key: 'seconds', title: 'Time', show: duration },
];

/**
 * The figures below the curves, for reading aloud and for copying: every step of a short run, of a long one some at even distances,
 * the kept one and the last. Columns in which nothing was measured are left out.
 */
export function figureTable(metrics: readonly StepMetric[]): string {
  if (metrics.length === 0) return '';
  const best = bestRow(metrics);
  const rows = chooseRows(metrics.length, best);
  const used = columns.filter(({ key }) => metrics.some((metric) => Number.isFinite(metric[key])));
  const some = rows.length < metrics.length ? `, ${rows.length} of ${count(metrics.length)} rows` : '';
  const head = used.map(({ title }) => `<th scope="col">${title}</th>`).join('');
  const body = rows.map((row) => {
    const cells = used.map(({ key, show }) => {
      const value = metrics[row]![key];
      return `<td>${typeof value === 'number' && Number.isFinite(value) ? show(value) : '–'}</td>`;
    });
    return `<tr${row === best ? ' class="kept"' : ''}>${cells.join('')}</tr>`;
  });
  const note =
    best === undefined ? '' : '<p class="soft">Bold: the best on the validation examples, which was kept.</p>\n';
  return (
    `<details>\n<summary>The figures in a table${some}</summary>\n${note}` +
    `<div class="wide" role="region" aria-label="Figures of the run" tabindex="0"><table class="figures">\n` +
    `<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table></div>\n</details>`
  );
}

function bestRow(metrics: readonly StepMetric[]): number | undefined {
  let best: number | undefined;
  for (const [i, { validation }] of metrics.entries()) {
    if (typeof validation !== 'number' || !Number.isFinite(validation)) continue;
    if (best === undefined || validation < metrics[best]!.validation!) best = i;
  }
  return best;
}

function chooseRows(length: number, best: number | undefined): number[] {
  const even = Array.from({ length: Math.min(ROWS, length) }, (_, i) =>
    Math.floor((i * length) / Math.min(ROWS, length)),
  );
  return [...new Set([...even, ...(best === undefined ? [] : [best]), length - 1])].sort((a, b) => a - b);
}
