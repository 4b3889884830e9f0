import { href, type Place, type Screen } from '../browser.js';
import type { Live } from '../live.js';
import { Icon, type IconName } from './layout.js';

interface Entry {
  screen: Screen;
  label: string;
  icon: IconName;
  /** Shown in the side rail only: a phone's bar has room for five. */
  wideOnly?: boolean;
}

const entries: readonly Entry[] = [
  { screen: 'data', label: 'Data', icon: 'data' },
  { screen: 'tune', label: 'Tune', icon: 'tune' },
  { screen: 'chat', label: 'Chat', icon: 'chat' },
  { screen: 'compare', label: 'Compare', icon: 'compare', wideOnly: true },
  { screen: 'adapters', label: 'Adapters', icon: 'adapters' },
  { screen: 'settings', label: 'Settings', icon: 'settings' },
];

/** A bar at the bottom of a phone, a rail at the side of a wider window. */
export function Navigation({ place, job }: { place: Place; job: Live['job'] }) {
  const active = job && ['running', 'paused', 'interrupted', 'queued'].includes(job.state) ? job : undefined;
  return (
    <nav class="nav" aria-label="Main">
      <a class="brand" href={href()} aria-label="Loam, start">
        <img src="/icons/icon.svg" alt="" width="30" height="30" />
        <span>Loam</span>
      </a>
      <ul>
        {entries.map(({ screen, label, icon, wideOnly }) => {
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
                aria-label={learning ? `${label}, a run is going on` : undefined}
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
        <Icon name="shield" size={16} /> Nothing leaves this device.
      </p>
    </nav>
  );
}
