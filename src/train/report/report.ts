import { bytes, count, duration } from '../../base/format.js';
import { type General, lossAdvice, lossOf, signed } from '../../base/lost.js';
import type { Quote, TuneResult } from '../events.js';
import { escapeHtml, reportCurves } from './curves.js';

/** What is measured at a step, in nats per response token where it is a loss; the gradient's norm before clipping. */
export const stepFigures = [
  'loss',
  'validation',
  'tokensPerSecond',
  'learningRate',
  'gradientNorm',
  'rssBytes',
  'seconds',
] as const;
export type Figure = (typeof stepFigures)[number];

/** What was measured at one step; what was not is absent. */
export interface StepMetric extends Partial<Record<Figure, number>> {
  step: number;
  /** Epochs done, with the fraction of the one under way. */
  epoch: number;
}

/** An answer of the model without and with the adapter; the user's own text. */
export interface ReportSample {
  prompt: string;
  before: string;
  after: string;
  expected?: string;
}

type Outcome = Pick<
  TuneResult,
  'method' | 'nll' | 'measuredOn' | 'general' | 'seconds' | 'peakRssBytes' | 'energyJoules'
>;

/** What a report is made of: plain JSON, as a run's events and its result give it. */
export interface ReportInput extends Outcome {
  title: string;
  /** ISO 8601. */
  createdAt: string;
  /** Of Loam. */
  version: string;
  model: string;
  recipe: Record<string, string | number | boolean>;
  /** What was told before the run. */
  quote?: Quote;
  metrics: readonly StepMetric[];
  samples: readonly ReportSample[];
}

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
function figureTable(metrics: readonly StepMetric[]): string {
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

/** The style of a report: no font, image or file from elsewhere; light and dark as the reader's system is; one column on a phone. */
const reportStyle = `
:root {
  color-scheme: light dark;
  --page: #fdfcfa; --box: #f4f1ec; --line: #ddd6cc; --text: #221e19; --soft: #665d52; --accent: #9a4a16; --faint: #d9b294;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #171411; --box: #221e1a; --line: #3d362f; --text: #ede7df; --soft: #b3a89b; --accent: #eaa26c; --faint: #6e4b33; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 0.75rem; }
h3 { font-size: 1rem; margin: 0 0 0.25rem; }
p { margin: 0.5rem 0; }
.soft, figcaption, footer { color: var(--soft); font-size: 0.875rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.75rem; margin: 0; }
.tiles div { background: var(--box); border-radius: 0.5rem; padding: 0.6rem 0.8rem; }
.tiles dt { color: var(--soft); font-size: 0.875rem; }
.tiles dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles dd span { display: block; font-size: 0.875rem; color: var(--soft); }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.75rem 2rem; }
figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; overflow: visible; }
.grid { stroke: var(--line); stroke-width: 1; }
.tick { fill: var(--soft); }
.label { fill: var(--text); font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
polyline.main { stroke: var(--accent); stroke-width: 2; }
polyline.faint { stroke: var(--faint); stroke-width: 1; }
.dot, .mark { fill: var(--accent); }
.dot.faint { fill: var(--faint); }
.mark { stroke: var(--page); stroke-width: 2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); }
.figures th, .figures td { text-align: right; white-space: nowrap; }
.kept { background: var(--box); font-weight: 600; }
summary { cursor: pointer; margin: 1rem 0 0.5rem; }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 0.75rem; }
h4 { font-size: 0.875rem; font-weight: 600; color: var(--soft); margin: 0.5rem 0 0.25rem; }
pre { margin: 0; padding: 0.6rem 0.8rem; background: var(--box); border-radius: 0.5rem; font: inherit; white-space: pre-wrap; }
.after pre { box-shadow: inset 3px 0 0 var(--accent); }
footer { margin-top: 3rem; }
`;

const measuredNames = {
  heldout: 'held-out examples',
  validation: 'validation examples, which were not learnt from',
  train: 'the training examples themselves, too few to hold any out',
};

/**
 * A run as one HTML file that loads nothing and runs nothing: it can be kept, printed and sent. All text is escaped. Figures that
 * are no finite numbers are shown as a dash.
 */
export function renderReport(input: ReportInput): string {
  const sections = [
    section('result', 'Result', result(input)),
    section('cost', 'What it took', cost(input)),
    section('curves', 'How it went', [reportCurves(input.metrics), figureTable(input.metrics)].join('\n')),
    section('samples', 'Before and after', samples(input.samples)),
    section('recipe', 'Recipe', recipe(input)),
  ];
  const personal = input.samples.length > 0 ? ' It holds examples of your data: mind whom you give it to.' : '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(input.title)}</title>
<style>${reportStyle}</style>
</head>
<body>
<main>
<header>
<h1>${escapeHtml(input.title)}</h1>
<p class="soft">${escapeHtml(`${input.model} · ${input.method} · ${when(input.createdAt)}`)}</p>
</header>
${sections.filter((html) => html !== '').join('\n')}
<footer>Written by Loam ${escapeHtml(input.version)} on the device that did the work. This file loads nothing from elsewhere.${personal}</footer>
</main>
</body>
</html>
`;
}

function section(id: string, title: string, content: string): string {
  return content === ''
    ? ''
    : `<section aria-labelledby="${id}">\n<h2 id="${id}">${title}</h2>\n${content}\n</section>`;
}

function result({ nll, measuredOn, general }: ReportInput): string {
  const change = (100 * (nll.base - nll.adapted)) / nll.base;
  const how = Number.isFinite(change) ? `${Math.abs(change).toFixed(0)} % ${change < 0 ? 'more' : 'less'}` : '';
  const nats = (n: number) => finite(n, (value) => value.toFixed(3));
  const tiles = [tile('Base model', nats(nll.base)), tile('With the adapter', nats(nll.adapted), how)];
  if (nll.teacher !== undefined) {
    tiles.push(tile('Its teacher', nats(nll.teacher), 'the base model with your examples in its context'));
  }
  const note = `Negative log-likelihood in nats per response token on ${measuredNames[measuredOn]}: less is better.`;
  return `<dl class="tiles">\n${tiles.join('\n')}\n</dl>\n<p class="soft">${note}</p>${general ? lost(general) : ''}`;
}

/** What the adapter has taken from the model. */
function lost(general: General): string {
  const { nats, points, much } = lossOf(general);
  const { nll, right, questions } = general;
  const tiles = [
    tile(
      'General questions, loss',
      signed(nats, 2),
      `${nll.base.toFixed(2)} without it, ${nll.adapted.toFixed(2)} with it`,
    ),
    tile(
      'Right answers, points',
      signed(-points, 0),
      `${right.base} of ${questions} without it, ${right.adapted} with it`,
    ),
  ];
  const note = 'What was lost: the same figures on bundled questions that have nothing to do with your examples.';
  return `\n<dl class="tiles">\n${tiles.join('\n')}\n</dl>\n<p class="soft">${note}${much ? ` ${lossAdvice}` : ''}</p>`;
}

function cost({ seconds, peakRssBytes, energyJoules, quote }: ReportInput): string {
  const against = (quoted: number | undefined, show: (n: number) => string) =>
    quoted === undefined ? '' : `${finite(quoted, show)} was expected`;
  const tiles = [
    tile('Time', finite(seconds, duration), against(quote?.seconds, duration)),
    tile('Memory at most', finite(peakRssBytes, bytes), against(quote?.memoryBytes, bytes)),
  ];
  const wattHours = (joules: number) => `${(joules / 3600).toPrecision(3)} Wh`;
  if (energyJoules !== undefined) tiles.push(tile('Energy', finite(energyJoules, wattHours)));
  if (quote) tiles.push(tile('Disk', finite(quote.diskBytes, bytes), 'as expected before; not measured'));
  return `<dl class="tiles">\n${tiles.join('\n')}\n</dl>`;
}

function tile(name: string, value: string, note = ''): string {
  return `<div><dt>${name}</dt><dd>${value}${note === '' ? '' : `<span>${note}</span>`}</dd></div>`;
}

function samples(list: readonly ReportSample[]): string {
  const text = (name: string, value: string, kind: string) =>
    `<div class="${kind}"><h4>${name}</h4><pre dir="auto">\n${escapeHtml(value)}</pre></div>`;
  return list
    .map(({ prompt, before, after, expected }, i) => {
      const answers = [text('Base model', before, 'before'), text('With the adapter', after, 'after')];
      if (expected !== undefined) answers.push(text('In your data', expected, 'expected'));
      return (
        `<article>\n<h3>Example ${i + 1}</h3>\n${text('Prompt', prompt, 'prompt')}\n` +
        `<div class="answers">\n${answers.join('\n')}\n</div>\n</article>`
      );
    })
    .join('\n');
}

function recipe({ model, method, recipe: options, version }: ReportInput): string {
  const rows = Object.entries({ model, method, ...options, loam: version }).map(
    ([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(String(value))}</td></tr>`,
  );
  return `<div class="wide"><table>\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table></div>`;
}

function when(createdAt: string): string {
  const date = new Date(createdAt);
  return Number.isNaN(date.getTime()) ? createdAt : `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function finite(n: number, show: (n: number) => string): string {
  return Number.isFinite(n) ? show(n) : '–';
}
