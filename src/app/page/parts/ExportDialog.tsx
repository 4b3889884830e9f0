import { useState } from 'preact/hooks';
import type { Adapter, AdapterVersion, Memorised } from '../../logic/types.js';
import { ApiError, call, download } from '../api.js';
import { tellChanged, useResource } from '../live.js';
import { Choice } from './Choice.js';
import { Confirm } from './Confirm.js';
import { Fault } from './Fault.js';
import { MemorisedNote } from './MemorisedNote.js';

type Format = 'gguf' | 'peft';

/** Before an adapter leaves the vault its finder says what it knows by heart: an export is not encrypted. */
export function ExportDialog({
  adapter,
  version,
  onClose,
}: {
  adapter: Adapter;
  version: AdapterVersion;
  onClose: () => void;
}) {
  const path = `/api/adapters/${adapter.id}/versions/${version.id}`;
  const [format, setFormat] = useState<Format>('gguf');
  const [understood, setUnderstood] = useState(false);
  const [probing, setProbing] = useState(false);
  const [error, setError] = useState<Error>();
  const kept = useResource(async (signal) => {
    try {
      return await call<Memorised | null>('GET', `${path}/memorised`, { signal });
    } catch (caught) {
      if (caught instanceof ApiError && caught.status === 404) return null;
      throw caught;
    }
  }, []);
  const report = kept.data ?? version.memorised ?? undefined;
  const risky = !report || report.verdicts.reproduced > 0 || report.verdicts.likely > 0;
  const probe = async () => {
    setProbing(true);
    setError(undefined);
    try {
      kept.set(await call<Memorised>('POST', `${path}/memorised`, { body: {} }));
      tellChanged('adapters');
    } catch (caught) {
      setError(caught as Error);
    }
    setProbing(false);
  };
  return (
    <Confirm
      title={`Export version ${version.number}`}
      verb="Export"
      disabled={risky && !understood}
      onClose={onClose}
      onConfirm={async () => {
        const name = `${adapter.name}-v${version.number}`;
        await download(
          `${path}/export?format=${format}&confirm=true`,
          format === 'gguf' ? `${name}.gguf` : `${name}.zip`,
        );
      }}
    >
      <p>The file is not encrypted, and holds what was learnt from your examples.</p>
      <MemorisedNote version={{ ...version, memorised: report }} />
      <Fault error={error ?? kept.error} />
      {!report && (
        <button type="button" class="button small" disabled={probing} onClick={() => void probe()}>
          {probing ? 'Trying it; this takes a while…' : 'Try it now'}
        </button>
      )}
      <Choice
        label="Format"
        showLabel
        value={format}
        onChange={setFormat}
        options={[
          { value: 'gguf', label: 'GGUF' },
          { value: 'peft', label: 'PEFT' },
        ]}
      />
      <p class="hint">
        {format === 'gguf' ? 'For llama.cpp and the apps built on it.' : 'For Python: peft and transformers.'}
      </p>
      {risky && (
        <label class="check">
          <input
            type="checkbox"
            checked={understood}
            onChange={(event) => setUnderstood(event.currentTarget.checked)}
          />
          <span>I know that whoever gets this file may get at private details of my examples.</span>
        </label>
      )}
    </Confirm>
  );
}
