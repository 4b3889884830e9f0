import { useState } from 'preact/hooks';
import { useServer } from '../App.js';
import { call } from '../api.js';
import { tellChanged } from '../live.js';
import { go } from '../router.js';
import { Confirm } from './Confirm.js';
import { Field } from './Field.js';

const words = 'delete everything';

/** The last resort asks for the words to be typed. */
export function DestroyEverything({ onClose }: { onClose: () => void }) {
  const { reload } = useServer();
  const [typed, setTyped] = useState('');
  return (
    <Confirm
      title="Delete everything"
      verb="Delete everything"
      danger
      disabled={typed.trim().toLowerCase() !== words}
      onClose={onClose}
      onConfirm={async () => {
        await call('POST', '/api/vault/destroy', { body: { confirm: words } });
        for (const what of ['datasets', 'adapters', 'conversations', 'jobs'] as const) tellChanged(what);
        await reload();
        go();
      }}
    >
      <p>
        All data sets, adapters, conversations and runs are destroyed with their keys. Nobody can bring them back, you
        included. Downloaded models stay.
      </p>
      <Field label={`Type “${words}” to go on`}>
        {(ids) => (
          <input
            {...ids}
            type="text"
            value={typed}
            autocomplete="off"
            autocapitalize="off"
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        )}
      </Field>
    </Confirm>
  );
}
