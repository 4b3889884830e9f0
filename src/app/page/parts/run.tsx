import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { duration } from '../../../base/format.js';
import { describeLoss, type General, lossAdvice, lossOf } from '../../../base/lost.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job, JobResult, RunQuote } from '../../../serve/contract/jobs.js';
import { curveShape } from '../../logic/geometry.js';
import { asChance, roughly, size } from '../../logic/words.js';
import { call } from '../api.js';
import { href } from '../browser.js';
import { useAction, useServer } from '../server.js';
import { Entry, Icon } from './layout.js';

/** A run in figures: what it would take, its loss as it falls, its result. */

/** Milliseconds without a change before asking for a quote, which costs the device a few seconds of work. */
const PATIENCE = 700;

interface QuoteCardProps {
  dataset: DatasetInfo;
  model: string;
  options: Record<string, unknown>;
  /** Invalid options have no quote. */
  paused: boolean;
  onLayers: (layers: number) => void;
}

/** What a run would take, before it starts. */
export function QuoteCard({ dataset, model, options, paused, onLayers }: QuoteCardProps) {
  const { status } = useServer();
  const [quote, setQuote] = useState<RunQuote>();
  const [waiting, setWaiting] = useState(!paused);
  const { error, run } = useAction();
  const key = JSON.stringify([dataset.id, dataset.examples, dataset.excluded, model, options]);
  useEffect(() => {
    if (paused) return;
    const abort = new AbortController();
    setWaiting(true);
    const timer = setTimeout(async () => {
      const body = { dataset: dataset.id, model, options };
      const done = await run(async () => {
        setQuote(await call<RunQuote>('POST', '/api/quote', { body, signal: abort.signal }));
      });
      if (abort.signal.aborted) return;
      if (!done) setQuote(undefined);
      setWaiting(false);
    }, PATIENCE);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [key, paused]);

  const battery = status?.device?.battery;
  const free = status?.device?.availableMemoryBytes;
  const tight = quote !== undefined && free !== undefined && quote.memoryBytes > 0.9 * free;
  return (
    <section class="sheet quote" aria-label="What it takes" aria-busy={waiting}>
      <dl class={waiting ? 'figures stale' : 'figures'}>
        <Entry name="Time">{quote ? roughly(quote.seconds) : '…'}</Entry>
        <Entry name="Memory">{quote ? size(quote.memoryBytes) : '…'}</Entry>
        <Entry name="Disk">{quote ? (quote.diskBytes > 0 ? size(quote.diskBytes) : 'almost none') : '…'}</Entry>
        <Entry name={quote?.energyJoules !== undefined ? 'Energy' : 'Battery'}>{energy(quote, battery)}</Entry>
      </dl>
      <p class="quiet" role="status">
        {waiting
          ? 'Measuring on this device…'
          : error
            ? `No estimate: ${error.message}`
            : quote &&
              'At most: tuning ends earlier once it stops improving. You can stop at any time and keep the best so far.'}
      </p>
      {tight && (
        <p class="note warn">
          That is close to all the memory that is free now ({size(free)}). Close other apps, or adapt fewer layers.
        </p>
      )}
      {quote?.warnings?.map((warning) => (
        <p key={warning} class="note warn">
          {warning}
        </p>
      ))}
      {quote?.cheaper && quote.cheaper.length > 0 && (
        <div class="row">
          <span class="quiet">Cheaper:</span>
          {quote.cheaper.map((one) => (
            <button key={one.layers} type="button" class="button small" onClick={() => onLayers(one.layers)}>
              {one.layers} layers, {roughly(one.seconds)}, {size(one.memoryBytes)}
            </button>
          ))}
        </div>
      )}
    </section>
  );
}

/** Joules are kilowatt-hours to nobody; a share of the battery is what a person can weigh. */
function energy(quote: RunQuote | undefined, battery: { percent: number; charging: boolean } | undefined): string {
  if (!quote) return '…';
  if (quote.energyJoules !== undefined) return `${(quote.energyJoules / 3600).toFixed(1)} Wh`;
  if (battery) return battery.charging ? 'charging' : `${battery.percent}% left`;
  return 'unknown';
}

const HEIGHT = 220;

/** The loss of a run as it falls, drawn as ground: what lies below the line is soil. */
export function Curve({ curve }: { curve: Job['curve'] }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(320);
  const id = useId();
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(220, Math.round(entry!.contentRect.width))));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const shape = curveShape(curve, { width, height: HEIGHT });
  return (
    <figure class="curve">
      <div ref={box}>
        {shape ? (
          <svg
            viewBox={`0 0 ${width} ${HEIGHT}`}
            width={width}
            height={HEIGHT}
            role="img"
            aria-labelledby={`${id}-t ${id}-d`}
          >
            <title id={`${id}-t`}>Loss over the steps</title>
            <desc id={`${id}-d`}>{describe(curve)}</desc>
            {shape.y.map(({ place, label }) => (
              <g key={label}>
                <line class="grid" x1="38" x2={width - 8} y1={place} y2={place} />
                <text x="32" y={place} dy="0.32em" text-anchor="end">
                  {label}
                </text>
              </g>
            ))}
            {shape.x.map(({ place, label }) => (
              <text key={label} x={Math.min(place, width - 4 - label.length * 3.5)} y={HEIGHT - 5} text-anchor="middle">
                {label}
              </text>
            ))}
            <defs>
              <linearGradient id={`${id}-soil`} x1="0" y1="0" x2="0" y2="1">
                <stop class="soil-1" offset="0" />
                <stop class="soil-2" offset="0.55" />
                <stop class="soil-3" offset="1" />
              </linearGradient>
            </defs>
            <path class="area" d={shape.area} fill={`url(#${id}-soil)`} />
            <path class="raw" d={shape.raw} />
            <path class="smooth" d={shape.smooth} />
            <path class="checked" d={shape.validation} />
            {shape.validationPoints.map(({ x, y }) => (
              <circle key={x} class="checked-dot" cx={x} cy={y} r="3.2" />
            ))}
            {shape.best && (
              <g>
                <circle class="best-ring" cx={shape.best.x} cy={shape.best.y} r="6.5" />
                <text
                  class="best-label"
                  x={shape.best.x + (shape.best.x > width / 2 ? -10 : 10)}
                  y={shape.best.y > 40 ? shape.best.y - 10 : shape.best.y + 22}
                  text-anchor={shape.best.x > width / 2 ? 'end' : 'start'}
                >
                  {`best ${shape.best.value.toFixed(3)}`}
                </text>
              </g>
            )}
          </svg>
        ) : (
          <div class="curve-empty">The curve starts with the first step.</div>
        )}
      </div>
      <figcaption>
        <span class="key">loss on your examples</span>
        <span class="key key-checked">loss on held-out examples</span>
      </figcaption>
    </figure>
  );
}

function describe({ train, validation }: Job['curve']): string {
  const parts: string[] = [];
  if (train.length > 0) {
    const [first, last] = [train[0]!, train.at(-1)!].map(([, loss]) => loss.toFixed(2));
    parts.push(`Loss on your examples: from ${first} to ${last}.`);
  }
  const best = bestLoss({ validation });
  if (best !== undefined) parts.push(`The best held-out loss so far is ${best.toFixed(3)}.`);
  return parts.join(' ');
}

/** The lowest loss on the held-out examples. */
export function bestLoss({ validation }: Pick<Job['curve'], 'validation'>): number | undefined {
  return validation.length > 0 ? Math.min(...validation.map(([, loss]) => loss)) : undefined;
}

/** Loss before and after, as two layers whose depth is the loss. */
export function NllBars({ base, adapted, on }: { base: number; adapted: number; on?: string }) {
  const most = Math.max(base, adapted, 1e-6);
  const drop = base > 0 ? Math.round((100 * (base - adapted)) / base) : 0;
  const bar = (nll: number, kind: string) => (
    <>
      <span class="nll-track">
        <span class={`nll-bar ${kind}`} style={{ width: `${(100 * nll) / most}%` }} />
      </span>
      <span class="nll-value">{nll.toFixed(3)}</span>
    </>
  );
  return (
    <figure class="nll">
      <figcaption>
        Loss on {on ?? 'held-out examples'}; lower is better.{' '}
        <strong>{drop >= 0 ? `${drop}% lower` : `${-drop}% higher`}</strong> than the base model.
      </figcaption>
      <dl>
        <Entry name="Base model">{bar(base, 'base')}</Entry>
        <Entry name="With your adapter">{bar(adapted, 'adapted')}</Entry>
      </dl>
      <p class="quiet">
        It gives the right next word a chance of {asChance(adapted)}; the base model gives it {asChance(base)}.
      </p>
    </figure>
  );
}

/** What the adapter has taken from the model, if it was measured. */
export function Lost({ general }: { general: General | undefined }) {
  if (!general) return null;
  return (
    <>
      <p>
        What was lost, on {general.questions} general questions: <strong>{describeLoss(general)}</strong>.
      </p>
      {lossOf(general).much && <p role="note">{lossAdvice}</p>}
    </>
  );
}

const measured = {
  heldout: 'your test set',
  validation: 'held-out examples',
  train: 'the training examples, which were too few to hold any out',
} as const;

export function ResultCard({ adapter, result }: { adapter: Job['adapter']; result: JobResult }) {
  return (
    <section class="sheet result" aria-label="Result">
      <h2>It has learnt</h2>
      <NllBars base={result.nll.base} adapted={result.nll.adapted} on={measured[result.measuredOn]} />
      <Lost general={result.general} />
      <p class="quiet">
        Took {duration(result.seconds)} and at most {size(result.peakRssBytes)} of memory; the adapter is{' '}
        {size(result.bytes)}.
      </p>
      <div class="row">
        <a class="button primary" href={adapter ? `${href('chat')}?version=${adapter.version}` : href('chat')}>
          <Icon name="chat" /> Talk to it
        </a>
        <a class="button" href={adapter ? href('compare', adapter.version) : href('compare')}>
          <Icon name="compare" /> Compare
        </a>
        {adapter && (
          <a class="button" href={href('adapters', adapter.id)}>
            <Icon name="adapters" /> Adapter
          </a>
        )}
      </div>
    </section>
  );
}
