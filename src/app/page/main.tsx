import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { isFinal } from '../../serve/jobs/Job.js';
import { rich, t } from '../logic/language.js';
import { takeLink } from './access.js';
import { sharedWithUs } from './around.js';
import { applyTheme, href, onAnnounce, type Place, registerWorker, type Screen, usePlace } from './browser.js';
import { loadLanguage } from './language.js';
import { Icon, type IconName, Page } from './parts/layout.js';
import { usePresence } from './parts/protection.js';
import { finishDeletions, UndoBar } from './parts/undo.js';
import { ConnectScreen, UnlockScreen } from './screens/AccessScreens.js';
import { AdapterScreen, AdaptersScreen } from './screens/AdapterScreen.js';
import { AddData } from './screens/AddData.js';
import { ChatScreen } from './screens/ChatScreen.js';
import { CompareScreen } from './screens/CompareScreen.js';
import { DataScreen } from './screens/DataScreen.js';
import { DatasetScreen } from './screens/DatasetScreen.js';
import { HomeScreen } from './screens/HomeScreen.js';
import { JobScreen } from './screens/JobScreen.js';
import { SettingsScreen } from './screens/SettingsScreen.js';
import { SharedScreen } from './screens/SharedScreen.js';
import { TuneScreen } from './screens/TuneScreen.js';
import { type Server, ServerProvider, useFollowedServer } from './server.js';

/** The app: the screen of the place, and around it what concerns every screen. Begins when it is loaded. */
function App() {
  const server = useFollowedServer();
  const place = usePlace();
  const [updated, setUpdated] = useState(false);
  useEffect(() => registerWorker(() => setUpdated(true)), []);
  useEffect(() => {
    if (server.ready) finishDeletions();
  }, [server.ready]);

  usePresence(server.status?.lockMinutes);
  const locked = server.status?.vault === 'locked';
  const inside = server.status !== undefined && !server.refused && !locked;
  return (
    <ServerProvider value={server}>
      {/* Not a link: the fragment of the address is the place in the app. */}
      <button type="button" class="skip" onClick={() => document.querySelector<HTMLElement>('h1')?.focus()}>
        {t('Skip to content')}
      </button>
      <Announcer />
      <div class={inside ? 'shell' : 'shell bare'}>
        {inside && <Navigation place={place} job={server.job} />}
        <div class="stage">
          <Banner reached={server.reached} updated={updated} readOnly={server.status?.readOnly === true} />
          {server.refused ? (
            <ConnectScreen />
          ) : locked ? (
            <UnlockScreen />
          ) : server.status && server.ready ? (
            <ScreenOf key={keyOf(place)} place={place} />
          ) : server.reached || server.status ? (
            // Nothing is asked for before it is known whether the vault is open.
            <main class="page">
              <header class="page-head">
                <h1>Loam</h1>
              </header>
              <p class="quiet">{t('Opening…')}</p>
            </main>
          ) : (
            <Page title="Loam">{null}</Page>
          )}
          <UndoBar />
        </div>
      </div>
    </ServerProvider>
  );
}

/** Another place is another screen with its own state, except that the chat stays when its conversation changes. */
function keyOf({ screen, path }: Place): string {
  return screen === 'chat' ? screen : [screen, ...path].join('/');
}

function ScreenOf({ place }: { place: Place }) {
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
    case 'shared':
      return <SharedScreen />;
  }
}

interface NavigationEntry {
  screen: Screen;
  label: string;
  icon: IconName;
  /** Shown in the side rail only: a phone's bar has room for five. */
  wideOnly?: boolean;
}

const entries = (): readonly NavigationEntry[] => [
  { screen: 'data', label: t('Data'), icon: 'data' },
  { screen: 'tune', label: t('Tune'), icon: 'tune' },
  { screen: 'chat', label: t('Chat'), icon: 'chat' },
  { screen: 'compare', label: t('Compare'), icon: 'compare', wideOnly: true },
  { screen: 'adapters', label: t('Adapters'), icon: 'adapters' },
  { screen: 'settings', label: t('Settings'), icon: 'settings' },
];

/** A bar at the bottom of a phone, a rail at the side of a wider window. */
function Navigation({ place, job }: { place: Place; job: Server['job'] }) {
  const active = job && !isFinal(job.state) ? job : undefined;
  return (
    <nav class="nav" aria-label={t('Main')}>
      <a class="brand" href={href()} aria-label={t('Loam, start')}>
        <img src="/icons/icon.svg" alt="" width="30" height="30" />
        <span>Loam</span>
      </a>
      <ul>
        {entries().map(({ screen, label, icon, wideOnly }) => {
          const here =
            place.screen === screen ||
            (screen === 'tune' && place.screen === 'jobs') ||
            // On a phone, comparing is reached through the chat.
            (screen === 'chat' && place.screen === 'compare' && matchMedia('(max-width: 859px)').matches);
          const learning = screen === 'tune' && active !== undefined;
          return (
            <li key={screen} class={wideOnly ? 'wide-only' : undefined}>
              <a
                href={learning ? href('jobs', active.id) : href(screen)}
                aria-current={here ? 'page' : undefined}
                aria-label={learning ? t('{label}, a run is in progress', { label }) : undefined}
              >
                <span class="nav-icon">
                  <Icon name={icon} />
                  {learning && <span class={`pulse ${active.state}`} />}
                </span>
                <span>{label}</span>
              </a>
            </li>
          );
        })}
      </ul>
      <p class="nav-foot">
        <Icon name="shield" size={16} /> {t('Nothing leaves this device.')}
      </p>
    </nav>
  );
}

/** The server is gone or cannot write, or the page is of an older version. */
function Banner({ reached, updated, readOnly }: { reached: boolean; updated: boolean; readOnly: boolean }) {
  if (!reached) {
    return (
      <div class="banner bad" role="alert">
        <p>
          <strong>{t('Loam’s server is not responding.')}</strong>{' '}
          {rich('This page reconnects when it is back; start it with {command}.', { command: <code>loam serve</code> })}
        </p>
        <button type="button" class="button small" onClick={() => dispatchEvent(new Event('loam-retry'))}>
          {t('Try now')}
        </button>
      </div>
    );
  }
  if (readOnly && !updated) {
    return (
      <div class="banner" role="status">
        <p>
          <strong>{t('Loam cannot write to its folder.')}</strong>{' '}
          {rich(
            'It answers and shows what is there; changes are refused and conversations are not kept. Make the folder writable and start {command} again.',
            { command: <code>loam serve</code> },
          )}
        </p>
      </div>
    );
  }
  if (!updated) return null;
  return (
    <div class="banner good" role="status">
      <p>{t('Loam was updated.')}</p>
      <button type="button" class="button small" onClick={() => location.reload()}>
        {t('Load the new page')}
      </button>
    </div>
  );
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

// The link may be followed while the page is open already: then only the fragment changes.
addEventListener('hashchange', () => {
  void takeLink().then((taken) => taken && dispatchEvent(new Event('loam-retry')));
});
applyTheme();
// The service worker keeps it for a moment only, and the vault may have to be unlocked first.
if (location.hash === href('shared')) void sharedWithUs();
void Promise.all([loadLanguage(), takeLink()]).then(() => {
  const root = document.getElementById('app')!;
  // The first frame, which stood there while the page was loading.
  root.replaceChildren();
  const draw = () => render(<App />, root);
  addEventListener('loam-language', draw);
  draw();
});
