import { useEffect, useState } from 'preact/hooks';

/** What the page asks of the browser itself: places, storage, light or dark, words for screen readers, the service worker. */

/** Places in the app are fragments of the address: "#/data/ID". The server never sees them, and the back button works. */
export interface Place {
  screen: Screen;
  /** What follows the screen: ids. */
  path: string[];
  query: URLSearchParams;
}

export type Screen = 'home' | 'data' | 'tune' | 'jobs' | 'compare' | 'chat' | 'adapters' | 'settings' | 'shared';
const screens: readonly string[] = ['shared', 'data', 'tune', 'jobs', 'compare', 'chat', 'adapters', 'settings'];

function readPlace(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [screen = '', ...rest] = path.split('/').map(decoded);
  return {
    screen: screens.includes(screen) ? (screen as Screen) : 'home',
    path: rest.filter((part) => part !== ''),
    query: new URLSearchParams(query),
  };
}

/** An address that somebody has typed or cut off may be no encoded text. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
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

/** Without a new entry for the back button; the entries of open sheets go. */
export function replace(...parts: string[]): void {
  const depth = depthOf(history.state);
  if (depth === 0) {
    location.replace(href(...parts));
    return;
  }
  addEventListener('popstate', () => location.replace(href(...parts)), { once: true });
  history.go(-depth);
}

/** How the open sheets are closed, the lowest first. Each has an entry of its own, so that going back closes the uppermost. */
const sheets: (() => void)[] = [];

function depthOf(state: unknown): number {
  return (state as { sheet?: number } | null)?.sheet ?? 0;
}

/** Goes back past entries whose sheets are no longer open. */
function settle(): void {
  const extra = depthOf(history.state) - sheets.length;
  if (extra > 0) history.go(-extra);
}

/** A sheet has opened. @returns what to call when it was closed otherwise than by going back */
export function openSheet(close: () => void): () => void {
  const entry = () => close();
  sheets.push(entry);
  history.pushState({ sheet: sheets.length }, '');
  return () => {
    const at = sheets.indexOf(entry);
    if (at < 0) return;
    sheets.splice(at, 1);
    // What closed it may also lead to another place, whose entry comes first.
    setTimeout(settle);
  };
}

addEventListener('popstate', ({ state }) => {
  while (sheets.length > depthOf(state)) sheets.pop()!();
  settle();
});
// After a reload no sheet is open.
settle();

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

/** @returns whether it is on the clipboard */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page from another device without encryption has no clipboard; a selection can be copied all the same.
    const area = document.createElement('textarea');
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
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
