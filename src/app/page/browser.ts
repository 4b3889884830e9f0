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
  settled(() => {
    location.hash = href(...parts);
  });
}

/** Without a new entry for the back button; the entries of open sheets go. */
export function replace(...parts: string[]): void {
  settled(() => {
    goBack(depthOf(history.state));
    // Before what was pressed meanwhile.
    following.unshift(() => location.replace(href(...parts)));
    follow();
  });
}

/** How the open sheets are closed, the lowest first. Each has an entry of its own, so that going back closes the uppermost. */
const sheets: (() => void)[] = [];

function depthOf(state: unknown): number {
  return (state as { sheet?: number } | null)?.sheet ?? 0;
}

/** What tells the entry of one sheet from that of another. */
function entryOf(state: unknown): unknown {
  return (state as { entry?: number } | null)?.entry;
}

/**
 * Set while the browser goes back, which takes it a moment. What is to follow waits: a place that was gone to at once would be the
 * one that is gone back from.
 */
let goingBack: { from: unknown; timer: number } | undefined;
const following: (() => void)[] = [];

function goBack(steps: number): void {
  if (steps <= 0 || goingBack !== undefined) return;
  // Where there is nothing to go back to no event comes, and this entry is left as one without a sheet.
  const giveUp = () => {
    history.replaceState(null, '');
    wentBack();
  };
  goingBack = { from: entryOf(history.state), timer: setTimeout(giveUp, 2000) };
  history.go(-steps);
}

function wentBack(): void {
  clearTimeout(goingBack?.timer);
  goingBack = undefined;
  settle();
  follow();
}

function follow(): void {
  while (goingBack === undefined && following.length > 0) following.shift()!();
}

/** Calls at once, or when the browser has gone back. */
function settled(call: () => void): void {
  following.push(call);
  follow();
}

/** Goes back past entries whose sheets are no longer open. */
function settle(): void {
  goBack(depthOf(history.state) - sheets.length);
}

/** A sheet has opened. @returns what to call when it was closed otherwise than by going back */
export function openSheet(close: () => void): () => void {
  const entry = () => close();
  let isOpen = true;
  settled(() => {
    if (!isOpen) return;
    sheets.push(entry);
    history.pushState({ sheet: sheets.length, entry: crypto.getRandomValues(new Uint32Array(1))[0] }, '');
  });
  return () => {
    isOpen = false;
    const at = sheets.indexOf(entry);
    if (at < 0) return;
    sheets.splice(at, 1);
    // What closed it may also lead to another place, whose entry comes first.
    setTimeout(settle);
  };
}

addEventListener('popstate', () => {
  // Not the state that the event brings: links tell of themselves too, and so late that a sheet may have opened since.
  while (sheets.length > depthOf(history.state)) sheets.pop()!();
  if (!goingBack || entryOf(history.state) !== goingBack.from) wentBack();
});
addEventListener(
  'click',
  (event) => {
    const link = (event.target as Element).closest<HTMLAnchorElement>('a[href^="#"]');
    if (goingBack === undefined || !link) return;
    event.preventDefault();
    settled(() => {
      location.hash = link.hash;
    });
  },
  true,
);
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
