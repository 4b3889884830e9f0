import { type Curve, renderCurve } from './renderCurve.js';
import type { StepMetric } from './reportInput.js';
import { type Point, smoothPoints } from './smoothPoints.js';

type Figure = Exclude<keyof StepMetric, 'step' | 'epoch'>;

/** A loss beyond this has diverged; drawn, it would flatten all the rest. */
const DIVERGED = 1e6;

/** The curves of a run, each where something was measured for it; a sentence where nothing was. */
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
    one('loss', 'Training loss, nats a token', loss, {
      description: `${describe(smooth)} Thin: each step. Thick: smoothed; the figures are of this.`,
      lines: [
        { style: 'faint', points: loss },
        { style: 'main', points: smooth },
      ],
    }),
    one('validation', 'Validation loss, nats a token', validation, {
      description: `${describe(validation)} The dot marks the adapter that was kept.`,
      mark: best && { ...best, label: `best: ${figure(best.y)}` },
    }),
    one('rate', 'Learning rate', take('learningRate'), { fromZero: true }),
    one('gradient', 'Gradient norm, before clipping', take('gradientNorm'), { fromZero: true }),
    one('speed', 'Tokens a second', take('tokensPerSecond'), { fromZero: true }),
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
