import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { type General, lossOf, signed } from '../../../base/lost.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job, RunQuote } from '../../../serve/contract/jobs.js';
import { curveShape } from '../../logic/geometry.js';
import { number, rich, t } from '../../logic/language.js';
import { sayFault } from '../../logic/said.js';
import { asChance, capital, roughly, size } from '../../logic/words.js';
import { call } from '../api.js';
import { useAction, useServer } from '../server.js';
import { Detail, Entry } from './layout.js';

/** A run in figures: what it would take, its loss as it falls, its result. */

/** Milliseconds without a change before asking for a quote, which costs the device a few seconds of work. */
const PATIENCE = 700;

interface Asked {
  datasets: readonly DatasetInfo[];
  model: string;
  options: Record<string, unknown>;
  /** Invalid options have no quote. */
  paused: boolean;
}

export interface Quoted {
  quote?: RunQuote;
  /** It is of other choices than those made, and a newer one is on its way. */
  waiting: boolean;
  error?: Error;
  /** Layers of the model, once a quote has told them. */
  modelLayers?: number;
}

/** What a run would take, as it is chosen. */
export function useQuote({ datasets, model, options, paused }: Asked): Quoted {
  const [quote, setQuote] = useState<RunQuote>();
  const [waiting, setWaiting] = useState(!paused);
  const [known, setKnown] = useState<ReadonlyMap<string, number>>(new Map());
  const { error, run } = useAction();
  const key = JSON.stringify([datasets.map(({ id, sha256, excluded }) => [id, sha256, excluded]), model, options]);
  useEffect(() => {
    if (paused) return;
    const abort = new AbortController();
    setWaiting(true);
    const timer = setTimeout(async () => {
      const [first, ...also] = datasets.map(({ id }) => id);
      const body = { dataset: first, also, model, options };
      const done = await run(async () => {
        const next = await call<RunQuote>('POST', '/api/quote', { body, signal: abort.signal });
        setQuote(next);
        setKnown((old) => new Map(old).set(model, next.modelLayers));
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
  return { quote, waiting, error, modelLayers: known.get(model) };
}

/** What a run would take, before it starts. */
export function QuoteCard({
  quoted: { quote, waiting, error },
  onLayers,
}: {
  quoted: Quoted;
  onLayers: (layers: number) => void;
}) {
  const { status, job } = useServer();
  const battery = status?.device?.battery;
  const free = status?.device?.availableMemoryBytes;
  const said = error && sayFault(error);
  const tight = quote !== undefined && free !== undefined && quote.memoryBytes > 0.9 * free;
  return (
    <section class="sheet quote" aria-label={t('What it takes')} aria-busy={waiting}>
      <dl class={waiting ? 'figures stale' : 'figures'}>
        <Entry name={t('Time')}>{quote ? roughly(quote.seconds) : '…'}</Entry>
        <Entry name={t('Memory')}>{quote ? size(quote.memoryBytes) : '…'}</Entry>
        <Entry name={t('Disk')}>{quote ? (quote.diskBytes > 0 ? size(quote.diskBytes) : t('almost none')) : '…'}</Entry>
        <Entry
          name={quote?.energyJoules !== undefined && quote.batteryPercent === undefined ? t('Energy') : t('Battery')}
        >
          {energy(quote, battery)}
        </Entry>
      </dl>
      <p class="quiet" role="status">
        {waiting
          ? job?.state === 'running'
            ? t('Measuring on this device; it takes longer, because learning is going on…')
            : t('Measuring on this device…')
          : said
            ? t('No estimate: {message}', { message: said.text })
            : quote &&
              t(
                'At most: tuning ends earlier once it stops improving. You can stop at any time and keep the best so far.',
              )}
      </p>
      {said && !waiting && <Detail text={said.detail} />}
      {tight && (
        <p class="note warn">
          {t('That is close to all the memory that is free now ({free}). Close other apps, or adapt fewer layers.', {
            free: size(free),
          })}
        </p>
      )}
      {quote?.warnings?.map((warning) => (
        <p key={warning} class="note warn" lang="en">
          {capital(warning)}
        </p>
      ))}
      {quote?.cheaper && quote.cheaper.length > 0 && (
        <div class="row">
          <span class="quiet">{t('Cheaper:')}</span>
          {quote.cheaper.map((one) => (
            <button key={one.layers} type="button" class="button small" onClick={() => onLayers(one.layers)}>
              {t('{layers} layers, {time}, {memory}', {
                layers: one.layers,
                time: roughly(one.seconds),
                memory: size(one.memoryBytes),
              })}
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
  const { batteryPercent, energyJoules } = quote;
  if (batteryPercent !== undefined && battery)
    return t('{part}% of {percent}%', { part: Math.ceil(batteryPercent), percent: battery.percent });
  if (energyJoules !== undefined) return `${number(energyJoules / 3600, 1)} Wh`;
  if (battery) return battery.charging ? t('charging') : t('{percent}% left', { percent: battery.percent });
  return t('unknown');
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
            <title id={`${id}-t`}>{t('Loss over the steps')}</title>
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
                  {t('best {value}', { value: number(shape.best.value, 3) })}
                </text>
              </g>
            )}
          </svg>
        ) : (
          <div class="curve-empty">{t('The curve starts with the first step.')}</div>
        )}
      </div>
      <figcaption>
        <span class="key">{t('loss on your examples')}</span>
        <span class="key key-checked">{t('loss on held-out examples')}</span>
      </figcaption>
    </figure>
  );
}

function describe({ train, validation }: Job['curve']): string {
  const parts: string[] = [];
  if (train.length > 0) {
    const [first, last] = [train[0]!, train.at(-1)!].map(([, loss]) => number(loss, 2));
    parts.push(t('Loss on your examples: from {first} to {last}.', { first, last }));
  }
  const best = bestLoss({ validation });
  if (best !== undefined) parts.push(t('The best held-out loss so far is {best}.', { best: number(best, 3) }));
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
      <span class="nll-value">{number(nll, 3)}</span>
    </>
  );
  return (
    <figure class="nll">
      <figcaption>
        {rich('Loss on {on}; lower is better. {change} than the base model.', {
          on: on ?? t('held-out examples'),
          change: <strong>{drop >= 0 ? t('{n}% lower', { n: drop }) : t('{n}% higher', { n: -drop })}</strong>,
        })}
      </figcaption>
      <dl>
        <Entry name={t('Base model')}>{bar(base, 'base')}</Entry>
        <Entry name={t('With your adapter')}>{bar(adapted, 'adapted')}</Entry>
      </dl>
      <p class="quiet">
        {t('It gives the right next word a chance of {adapted}; the base model gives it {base}.', {
          adapted: asChance(adapted),
          base: asChance(base),
        })}
      </p>
    </figure>
  );
}

/** "+0.12 nats per token, -2 points of right answers (65 to 63 of 100)". */
function lossInWords(general: General): string {
  const { nats, points } = lossOf(general);
  const { right, questions } = general;
  return t('{nats} nats per token, {points} points of right answers ({before} to {after} of {questions})', {
    nats: signed(nats, 2),
    points: signed(-points, 0),
    before: right.base,
    after: right.adapted,
    questions,
  });
}

/** What the adapter has taken from the model, if it was measured. */
export function Lost({ general }: { general: General | undefined }) {
  if (!general) return null;
  return (
    <>
      <p>
        {rich('What was lost, on {questions} general questions: {loss}.', {
          questions: general.questions,
          loss: <strong>{lossInWords(general)}</strong>,
        })}
      </p>
      {lossOf(general).much && (
        <p role="note">
          {t(
            'This adapter has unlearnt much of what the base model could do besides: use it for what it was trained for only, apply it at less than its full strength, or train again so that it holds on more to what it knew, with smaller steps or fewer epochs.',
          )}
        </p>
      )}
    </>
  );
}
