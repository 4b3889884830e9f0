import { createContext, render } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { takeToken } from './api.js';
import { applyTheme, onAnnounce, type Place, registerWorker, usePlace } from './browser.js';
import { type Live, useLive } from './live.js';
import { Banner, Loading } from './parts/layout.js';
import { Navigation } from './parts/Navigation.js';
import { AdapterScreen, AdaptersScreen } from './screens/AdapterScreen.js';
import { AddData } from './screens/AddData.js';
import { ChatScreen } from './screens/ChatScreen.js';
import { CompareScreen } from './screens/CompareScreen.js';
import { ConnectScreen, UnlockScreen } from './screens/ConnectScreen.js';
import { DataScreen } from './screens/DataScreen.js';
import { DatasetScreen } from './screens/DatasetScreen.js';
import { HomeScreen } from './screens/HomeScreen.js';
import { JobScreen } from './screens/JobScreen.js';
import { SettingsScreen } from './screens/SettingsScreen.js';
import { TuneScreen } from './screens/TuneScreen.js';

const LiveContext = createContext<Live | undefined>(undefined);

/** What goes on at the server, for every screen. */
export function useServer(): Live {
  return useContext(LiveContext)!;
}

export function App() {
  const live = useLive();
  const place = usePlace();
  const [updated, setUpdated] = useState(false);
  useEffect(() => registerWorker(() => setUpdated(true)), []);

  const locked = live.status?.vault === 'locked';
  const inside = live.status !== undefined && !live.refused && !locked;
  return (
    <LiveContext.Provider value={live}>
      {/* Not a link: the fragment of the address is the place in the app. */}
      <button type="button" class="skip" onClick={() => document.querySelector<HTMLElement>('h1')?.focus()}>
        Skip to content
      </button>
      <Announcer />
      <div class={inside ? 'shell' : 'shell bare'}>
        {inside && <Navigation place={place} job={live.job} />}
        <div class="stage">
          <Banner reached={live.reached} updated={updated} />
          {live.refused ? (
            <ConnectScreen />
          ) : locked ? (
            <UnlockScreen />
          ) : live.status ? (
            <Screen key={keyOf(place)} place={place} />
          ) : (
            // Nothing is asked for before it is known whether the vault is open.
            <main class="page">{live.reached && <Loading />}</main>
          )}
        </div>
      </div>
    </LiveContext.Provider>
  );
}

/** Another place is another screen, with its own state; the conversation of a chat is not. */
function keyOf({ screen, path }: Place): string {
  return screen === 'chat' ? screen : [screen, ...path].join('/');
}

function Screen({ place }: { place: Place }) {
  const [first, second] = place.path;
  switch (place.screen) {
    case 'home':
      return <HomeScreen />;
    case 'data':
      if (first === 'add') return <AddData into={second} />;
      return first === undefined ? <DataScreen /> : <DatasetScreen id={first} />;
    case 'tune':
      return <TuneScreen dataset={first} />;
    case 'jobs':
      return first === undefined ? <TuneScreen /> : <JobScreen id={first} />;
    case 'compare':
      return <CompareScreen version={first} />;
    case 'chat':
      return <ChatScreen conversation={first} version={place.query.get('version') ?? undefined} />;
    case 'adapters':
      return first === undefined ? <AdaptersScreen /> : <AdapterScreen id={first} />;
    case 'settings':
      return <SettingsScreen />;
  }
}

function Announcer() {
  const [text, setText] = useState('');
  useEffect(
    () =>
      onAnnounce((next) => {
        // The same words twice would not be read twice.
        setText((old) => (old === next ? `${next}\u00a0` : next));
      }),
    [],
  );
  return (
    <div class="unseen" role="status" aria-live="polite">
      {text}
    </div>
  );
}

takeToken();
// The link may be followed while the page is open already: then only the fragment changes.
addEventListener('hashchange', () => {
  if (!location.hash.includes('token=')) return;
  takeToken();
  location.reload();
});
applyTheme();
render(<App />, document.getElementById('app')!);
