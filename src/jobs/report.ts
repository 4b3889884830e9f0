import { bytes, duration } from '../util/format.js';
import { escapeHtml } from './escapeHtml.js';
import { figureTable } from './figureTable.js';
import { reportCurves } from './reportCurves.js';
import type { ReportInput, ReportSample } from './reportInput.js';
import { reportStyle } from './reportStyle.js';

export type { ReportInput, ReportSample, StepMetric } from './reportInput.js';

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

function result({ nll, measuredOn }: ReportInput): string {
  const change = (100 * (nll.base - nll.adapted)) / nll.base;
  const how = Number.isFinite(change) ? `${Math.abs(change).toFixed(0)} % ${change < 0 ? 'more' : 'less'}` : '';
  const nats = (n: number) => finite(n, (value) => value.toFixed(3));
  const tiles = [tile('Base model', nats(nll.base)), tile('With the adapter', nats(nll.adapted), how)];
  if (nll.teacher !== undefined) {
    tiles.push(tile('Its teacher', nats(nll.teacher), 'the base model with your examples in its context'));
  }
  const note = `Negative log-likelihood in nats a response token on ${measuredNames[measuredOn]}: less is better.`;
  return `<dl class="tiles">\n${tiles.join('\n')}\n</dl>\n<p class="soft">${note}</p>`;
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
