import { useEffect, useState } from 'preact/hooks';
import type { DatasetInfo, Quote } from '../../logic/types.js';
import { useServer } from '../App.js';
import { call, isAbort } from '../api.js';
import { roughly, size } from '../readable.js';

interface Props {
  dataset: DatasetInfo;
  model: string;
  options: Record<string, unknown>;
  /** Options that do not fit have no price. */
  paused: boolean;
  onLayers: (layers: number) => void;
}

/** Milliseconds without a change before a price is asked for: it costs the device a few seconds of work. */
const PATIENCE = 700;

/** What a run would take, before it starts. */
export function QuoteCard({ dataset, model, options, paused, onLayers }: Props) {
  const { status } = useServer();
  const [quote, setQuote] = useState<Quote>();
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(!paused);
  const key = JSON.stringify([dataset.id, dataset.examples, dataset.excluded, model, options]);
  useEffect(() => {
    if (paused) return;
    const abort = new AbortController();
    setBusy(true);
    setError(undefined);
    const timer = setTimeout(async () => {
      try {
        setQuote(
          await call<Quote>('POST', '/api/quote', {
            body: { dataset: dataset.id, model, options },
            signal: abort.signal,
          }),
        );
      } catch (caught) {
        if (isAbort(caught)) return;
        setQuote(undefined);
        setError(caught as Error);
      }
      setBusy(false);
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
    <section class="sheet quote" aria-label="What it takes" aria-busy={busy}>
      <dl class={busy ? 'figures stale' : 'figures'}>
        <div>
          <dt>Time</dt>
          <dd>{quote ? roughly(quote.seconds) : '…'}</dd>
        </div>
        <div>
          <dt>Memory</dt>
          <dd>{quote ? size(quote.memoryBytes) : '…'}</dd>
        </div>
        <div>
          <dt>Disk</dt>
          <dd>{quote ? (quote.diskBytes > 0 ? size(quote.diskBytes) : 'next to none') : '…'}</dd>
        </div>
        <div>
          <dt>{quote?.energyJoules !== undefined ? 'Energy' : 'Battery'}</dt>
          <dd>{energy(quote, battery)}</dd>
        </div>
      </dl>
      <p class="quiet" role="status">
        {busy
          ? 'Measuring on this device…'
          : error
            ? `No estimate: ${error.message}`
            : quote &&
              'At most; it ends earlier when nothing more is gained. You can stop at any time and keep the best so far.'}
      </p>
      {tight && (
        <p class="note warn">
          <span>
            That is close to all the memory that is free now ({size(free)}). Close other apps, or adapt fewer layers:
          </span>
        </p>
      )}
      {quote?.warnings?.map((warning) => (
        <p key={warning} class="note warn">
          <span>{warning}</span>
        </p>
      ))}
      {quote?.cheaper && quote.cheaper.length > 0 && (
        <div class="cheaper">
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
function energy(quote: Quote | undefined, battery: { percent: number; charging: boolean } | undefined): string {
  if (!quote) return '…';
  if (quote.energyJoules !== undefined) return `${(quote.energyJoules / 3600).toFixed(1)} Wh`;
  if (battery) return battery.charging ? 'charging' : `${battery.percent} % left`;
  return 'not told here';
}
