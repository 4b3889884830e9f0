/** Places in the app are fragments of the address: "#/data/ID". The server never sees them, and the back button works. */
import { useEffect, useState } from 'preact/hooks';

export type Screen = 'home' | 'data' | 'tune' | 'jobs' | 'compare' | 'chat' | 'adapters' | 'settings';
const screens: readonly string[] = ['data', 'tune', 'jobs', 'compare', 'chat', 'adapters', 'settings'];

export interface Place {
  screen: Screen;
  /** What follows the screen: ids. */
  path: string[];
  query: URLSearchParams;
}

export function readPlace(hash = location.hash): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [screen = '', ...rest] = path.split('/').map(decodeURIComponent);
  return {
    screen: screens.includes(screen) ? (screen as Screen) : 'home',
    path: rest.filter((part) => part !== ''),
    query: new URLSearchParams(query),
  };
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

export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const onChange = () => setPlace(readPlace());
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return place;
}
