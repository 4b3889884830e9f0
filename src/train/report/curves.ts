import { axisTicks, type Point, smoothPoints, thinPoints } from '../../base/curve.js';
import type { Figure, StepMetric } from './report.js';

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Controls but tab and the ends of lines (HTML standard, "control-character-in-input-stream"). */
const FORBIDDEN = /(?![\t\n\r])\p{Cc}/gu;

/**
 * Text as HTML that shows it and does nothing else, in an element or between quotes of an attribute. Control characters that HTML
 * forbids are shown as �.
 */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!).replace(FORBIDDEN, '\ufffd');
}

interface Curve {
  /** Of the elements that describe it; a name. */
  id: string;
  title: string;
  /** What the curve does, in words: for those who do not see it, and as its caption. */
  description: string;
  /** Drawn in this order. 'faint' is for raw values behind the 'main' line. */
  lines: { style: 'faint' | 'main'; points: readonly Point[] }[];
  /** First and last x of all curves of a page, so that they stand above one another. */
  domain: readonly [number, number];
  /** Where zero means something. */
  fromZero?: boolean;
  /** One point to point out, with a short label. */
  mark?: Point & { label: string };
}

/** Units of the drawing: those of a phone 360 px wide, less its margins, so that text has there the size it states. */
const WIDTH = 328;
const HEIGHT = 190;
const PLOT = { left: 46, right: WIDTH - 10, top: 10, bottom: HEIGHT - 24 };

/** Width of a digit at that size, about. */
const DIGIT = 6.5;

/** More points than this cannot be told apart at that width. */
const MOST_POINTS = 600;

/** A curve as a figure of HTML with inline SVG; empty when it has no point. All coordinates must be finite. */
function renderCurve({ id, title, description, lines, domain, fromZero = false, mark }: Curve): string {
  const values = lines.flatMap(({ points }) => points.map(({ y }) => y));
  if (values.length === 0) return '';
  const [left, right] = widen(domain[0], domain[1], 0);
  const least = values.reduce((a, b) => Math.min(a, b));
  const most = values.reduce((a, b) => Math.max(a, b));
  const [low, high] = widen(fromZero ? Math.min(0, least) : least, most, fromZero ? 0 : 0.04);
  // The label of a marked lowest point stands below it.
  const bottom = mark ? low - 0.1 * (high - low) : low;
  const x = (value: number) => PLOT.left + ((value - left) / (right - left)) * (PLOT.right - PLOT.left);
  const y = (value: number) => PLOT.bottom - ((value - bottom) / (high - bottom)) * (PLOT.bottom - PLOT.top);

  const parts = [
    ...axisTicks(bottom, high, 4).map(({ at, label }) => {
      const place = pixel(y(at));
      return (
        `<line class="grid" x1="${PLOT.left}" x2="${PLOT.right}" y1="${place}" y2="${place}"/>` +
        `<text class="tick" x="${PLOT.left - 6}" y="${place}" dy="0.32em" text-anchor="end">${label}</text>`
      );
    }),
    ...axisTicks(left, right, 4, true).map(({ at, label }) => {
      // The last label would else leave the drawing.
      const place = pixel(Math.min(x(at), WIDTH - (label.length * DIGIT) / 2));
      return `<text class="tick" x="${place}" y="${HEIGHT - 6}" text-anchor="middle">${label}</text>`;
    }),
    ...lines.map(({ style, points }) => drawLine(style, thinPoints(points, MOST_POINTS), x, y)),
  ];
  if (mark) {
    const [cx, cy] = [x(mark.x), y(mark.y)];
    const end = cx > (PLOT.left + PLOT.right) / 2;
    parts.push(
      `<circle class="mark" cx="${pixel(cx)}" cy="${pixel(cy)}" r="4.5"/>` +
        `<text class="label" x="${pixel(end ? cx + 4 : cx - 4)}" y="${pixel(cy + 18)}" text-anchor="${end ? 'end' : 'start'}">${escapeHtml(mark.label)}</text>`,
    );
  }
  return (
    `<figure>\n<h3>${escapeHtml(title)}</h3>\n` +
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${id}-title ${id}-desc">\n` +
    `<title id="${id}-title">${escapeHtml(title)}</title><desc id="${id}-desc">${escapeHtml(description)}</desc>\n` +
    `${parts.join('\n')}\n</svg>\n<figcaption>${escapeHtml(description)}</figcaption>\n</figure>`
  );
}

function drawLine(
  style: string,
  points: readonly Point[],
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  if (points.length === 0) return '';
  if (points.length === 1) {
    return `<circle class="dot ${style}" cx="${pixel(x(points[0]!.x))}" cy="${pixel(y(points[0]!.y))}" r="3"/>`;
  }
  return `<polyline class="${style}" points="${points.map((p) => `${pixel(x(p.x))},${pixel(y(p.y))}`).join(' ')}"/>`;
}

/** A range of some width, with a margin of that share of it: a single value stands in the middle, 0 on the axis. */
function widen(low: number, high: number, margin: number): [number, number] {
  if (high > low) return [low - margin * (high - low), high + margin * (high - low)];
  const room = Math.abs(low) / 2;
  return room === 0 ? [0, 1] : [low - room, high + room];
}

function pixel(n: number): string {
  return String(Number(n.toFixed(1)));
}

/** A loss beyond this has diverged; drawn, it would flatten all the rest. */
const DIVERGED = 1e6;

/** The curves of a run, of what was measured; a sentence if nothing was. */
export function reportCurves(metrics: readonly StepMetric[]): string {
  const steps = metrics.map(({ step }) => step).filter(Number.isFinite);
  const domain = [steps.reduce((a, b) => Math.min(a, b), Infinity), steps.reduce((a, b) => Math.max(a, b), -Infinity)];
  const take = (figure: Figure): Point[] =>
    metrics.flatMap(({ step, [figure]: y }) =>
      Number.isFinite(step) && typeof y === 'number' && Math.abs(y) < DIVERGED ? [{ x: step, y }] : [],
    );
  const one = (id: string, title: string, points: Point[], more: Partial<Curve> = {}) =>
    renderCurve({
      id,
      title,
      description: describe(points),
      lines: [{ style: 'main', points }],
      domain: domain as [number, number],
      ...more,
    });

  const loss = take('loss');
  const validation = take('validation');
  const best = validation.reduce<Point | undefined>((a, b) => (a === undefined || b.y < a.y ? b : a), undefined);
  const smooth = smoothPoints(loss);
  const curves = [
    one('loss', 'Training loss, nats per token', loss, {
      description: `${describe(smooth)} Thin: each step. Thick: smoothed; the figures are of this.`,
      lines: [
        { style: 'faint', points: loss },
        { style: 'main', points: smooth },
      ],
    }),
    one('validation', 'Validation loss, nats per token', validation, {
      description: `${describe(validation)} The dot marks the adapter that was kept.`,
      mark: best && { ...best, label: `best: ${figure(best.y)}` },
    }),
    one('rate', 'Learning rate', take('learningRate'), { fromZero: true }),
    one('gradient', 'Gradient norm, before clipping', take('gradientNorm'), { fromZero: true }),
    one('speed', 'Tokens per second', take('tokensPerSecond'), { fromZero: true }),
  ].filter((curve) => curve !== '');
  if (curves.length === 0) return '<p>No steps were recorded.</p>';
  return `<p class="soft">From left to right: steps of training.</p>\n<div class="curves">\n${curves.join('\n')}\n</div>`;
}

function describe(points: readonly Point[]): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return '';
  if (points.length === 1) return `${figure(first.y)} at step ${first.x}.`;
  const low = points.reduce((a, b) => (b.y < a.y ? b : a));
  const high = points.reduce((a, b) => (b.y > a.y ? b : a));
  const extreme = (name: string, p: Point) =>
    p === first || p === last ? '' : `, ${name} ${figure(p.y)} at step ${p.x}`;
  return `${figure(first.y)} at step ${first.x}, ${figure(last.y)} at step ${last.x}${extreme('lowest', low)}${extreme('highest', high)}.`;
}

/** Four digits that count. */
function figure(n: number): string {
  return n !== 0 && Math.abs(n) < 1e-3
    ? n.toExponential(2)
    : n.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}
