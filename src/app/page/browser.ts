import { useEffect, useState } from 'preact/hooks';

/** What the page asks of the browser itself: places, storage, light or dark, words for screen readers, the service worker. */

/** Places in the app are fragments of the address: "#/data/ID". The server never sees them, and the back button works. */
export interface Place {
  screen: Screen;
  /** What follows the screen: ids. */
  path: string[];
  query: URLSearchParams;
}

export type Screen = 'home' | 'data' | 'tune' | 'jobs' | 'compare' | 'chat' | 'adapters' | 'settings';
const screens: readonly string[] = ['data', 'tune', 'jobs', 'compare', 'chat', 'adapters', 'settings'];

function readPlace(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [screen = '', ...rest] = path.split('/').map(decodeURIComponent);
  return {
    screen: screens.includes(screen) ? (screen as Screen) : 'home',
    path: rest.filter((part) => part !== ''),
    query: new URLSearchParams(query),
  };
}

export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const onChange = () => setPlace(readPlace());
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return place;
}

export function href(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function go(...parts: string[]): void {
  location.hash = href(...parts);
}

/** Without a new entry for the back button. */
export function replace(...parts: string[]): void {
  location.replace(href(...parts));
}

/** What is kept for this origin under a name; nothing if storage is switched off. */
export function readKept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Then it holds for this page only.
  }
}

/** Light or dark: as the device says, unless the person chose. */
export type Theme = 'auto' | 'light' | 'dark';

const themeName = 'loam-theme';

export function getTheme(): Theme {
  const kept = readKept(themeName);
  return kept === 'light' || kept === 'dark' ? kept : 'auto';
}

export function setTheme(theme: Theme): void {
  keep(themeName, theme === 'auto' ? null : theme);
  applyTheme(theme);
}

export function applyTheme(theme: Theme = getTheme()): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Words for screen readers, spoken by the app's live region whatever is on screen. */
const listeners = new Set<(text: string) => void>();

export function onAnnounce(listener: (text: string) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function announce(text: string): void {
  for (const listener of listeners) listener(text);
}

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ): { createScriptURL: (url: string) => unknown };
}

/** Installs the service worker. `onUpdate` is called when a newer version of the page has taken over. */
export function registerWorker(onUpdate: () => void): void {
  if (!('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  const had = serviceWorker.controller !== null;
  serviceWorker.addEventListener('controllerchange', () => {
    if (had) onUpdate();
  });
  const path = '/sw.js';
  const createScriptURL = (given: string) => {
    if (given !== path) throw new TypeError(`no script but ${path} may be a worker`);
    return given;
  };
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  const url = trustedTypes?.createPolicy('loam-worker', { createScriptURL }).createScriptURL(path) ?? path;
  // If it is refused (a private window), the page works, only not without its server.
  serviceWorker.register(url as string, { updateViaCache: 'none' }).catch(() => {});
}
