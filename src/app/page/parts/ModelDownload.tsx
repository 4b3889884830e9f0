import { useState } from 'preact/hooks';
import type { ModelEntry } from '../../logic/types.js';
import { bytes } from '../../../util/format.js';
import { call } from '../api.js';
import type { Download } from '../live.js';
import { Bar } from './Bar.js';
import { Fault } from './Fault.js';
import { Icon } from './Icon.js';

/** The button that fetches a model, and how far that is. The one thing in Loam that uses the network, so it says so. */
export function ModelDownload({ model, download }: { model: ModelEntry; download?: Download }) {
  const [error, setError] = useState<Error>();
  const [asked, setAsked] = useState(false);
  const running = download?.state === 'running' || (asked && !download);
  const total = download?.total ?? model.bytes;
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
  if (running) {
    const share = download && total ? download.done / total : undefined;
    return (
      <div class="download">
        <Bar share={share} label={`Fetching ${model.title ?? model.name}`} />
        <p class="quiet">
          {download ? `${bytes(download.done)}${total ? ` of ${bytes(total)}` : ''}` : 'Asking for it…'}
        </p>
      </div>
    );
  }
  return (
    <div class="download">
      {download?.state === 'failed' && <Fault error={new Error(download.message ?? 'The download failed.')} />}
      <Fault error={error} />
      <button type="button" class="button primary" onClick={() => void fetchIt()}>
        <Icon name="import" /> Fetch it{model.bytes ? ` (${bytes(model.bytes)})` : ''}
      </button>
    </div>
  );
}
