/**
 * The token that the server printed. It comes in the link's fragment, which browsers send to no server, and is kept for this origin so
 * that the installed page opens without the link.
 */
const key = 'loam-token';

let current: string | null = read();

function read(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    // Storage may be switched off; then the token lives as long as the page.
    return null;
  }
}

/** Takes the token out of the address, so that it is in no bookmark and no screenshot. */
export function takeToken(): void {
  const match = /[#&]token=([^&]+)/.exec(location.hash);
  if (!match) return;
  setToken(decodeURIComponent(match[1]!));
  history.replaceState(null, '', location.pathname);
}

/** From what a person pasted: the whole link or the bare token. */
export function tokenFrom(text: string): string {
  const match = /token=([^&\s]+)/.exec(text);
  return decodeURIComponent(match ? match[1]! : text.trim());
}

export function setToken(token: string | null): void {
  current = token;
  try {
    if (token === null) localStorage.removeItem(key);
    else localStorage.setItem(key, token);
  } catch {
    // As above.
  }
}

export function getToken(): string | null {
  return current;
}
