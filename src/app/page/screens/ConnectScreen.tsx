import { useState } from 'preact/hooks';
import { useServer } from '../App.js';
import { Field } from '../parts/Field.js';
import { Page } from '../parts/Page.js';
import { getToken, setToken, tokenFrom } from '../session.js';

/** The server does not know this browser: the link it printed is needed once. */
export function ConnectScreen() {
  const { reload } = useServer();
  const [text, setText] = useState('');
  const [failed, setFailed] = useState(false);
  const tried = getToken() !== null;
  const connect = async () => {
    setToken(tokenFrom(text));
    await reload();
    setFailed(true);
  };
  return (
    <Page title="Open Loam">
      <div class="narrow">
        <img class="hero-icon" src="/icons/icon.svg" alt="" width="84" height="84" />
        <p>
          Loam talks only to the person who started it. When it starts, <code>loam serve</code> prints a link: open that
          link here, or paste it.
        </p>
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void connect();
          }}
        >
          <Field
            label="Link or token"
            error={
              failed || (tried && text === '')
                ? 'The server does not accept the token it was given. It may have been started anew with another one.'
                : undefined
            }
          >
            {(ids) => (
              <input
                {...ids}
                type="text"
                value={text}
                onInput={(event) => {
                  setText(event.currentTarget.value);
                  setFailed(false);
                }}
                autocomplete="off"
                autocapitalize="off"
                spellcheck={false}
                placeholder="http://127.0.0.1:…/#token=…"
              />
            )}
          </Field>
          <button type="submit" class="button primary big" disabled={text.trim() === ''}>
            Connect
          </button>
        </form>
      </div>
    </Page>
  );
}
