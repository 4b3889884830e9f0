import { useState } from 'preact/hooks';
import type { Download, ModelEntry } from '../../logic/types.js';
import { call } from '../api.js';
import { size } from '../readable.js';
import { Bar } from './Bar.js';
import { Fault } from './Fault.js';
import { Icon } from './Icon.js';

/** The button that fetches a model, and how far that is. The one thing in Loam that uses the network, so it says so. */
export function ModelDownload({ model, download }: { model: ModelEntry; download?: Download }) {
  const [error, setError] = useState<Error>();
  const [asked, setAsked] = useState(false);
  const at = download ?? model.download;
  const running = at?.state === 'running' || (asked && !at);
  const total = at?.total ?? model.size;
  const fetchIt = async () => {
    setError(undefined);
    setAsked(true);
    try {
      await call('POST', `/api/models/${encodeURIComponent(model.name)}/fetch`, { body: {} });
    } catch (caught) {
      setError(caught as Error);
      setAsked(false);
    }
  };
  const stopIt = async () => {
    setAsked(false);
    try {
      await call('POST', `/api/models/${encodeURIComponent(model.name)}/stop`, { body: {} });
    } catch (caught) {
      setError(caught as Error);
    }
  };
  if (running) {
    const share = at && total > 0 && at.done > 0 ? at.done / total : undefined;
    return (
      <div class="download">
        <Bar share={share} label={`Fetching ${model.title}`} />
        <p class="quiet">
          {at ? `${size(at.done)} of ${size(total)}` : 'Asking for it…'}
          {at?.message && <span class="hint">{at.message}</span>}
        </p>
        <button type="button" class="button small" onClick={() => void stopIt()}>
          Stop
        </button>
      </div>
    );
  }
  return (
    <div class="download">
      {at?.state === 'failed' && <Fault error={new Error(at.message ?? 'The download failed.')} />}
      <Fault error={error} />
      <button type="button" class="button primary" onClick={() => void fetchIt()}>
        <Icon name="import" /> {at?.state === 'stopped' || at?.state === 'failed' ? 'Go on' : 'Fetch it'} (
        {size(model.size)})
      </button>
    </div>
  );
}
