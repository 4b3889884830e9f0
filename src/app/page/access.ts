import { type Hello, helloPath, pairPath, proofText, sessionText, sessionToken } from '../../serve/http/challenge.js';
import { hmac } from '../logic/hmac.js';
import { t } from '../logic/language.js';
import { keep } from './browser.js';

/**
 * How this browser gets in. The link that `loam serve` prints holds the pairing secret in its fragment, which browsers send nowhere. It is
 * kept as a key that signs and that no script can read out, this one included; a page without encryption from another device has no such
 * keys and keeps the text. With it the server shows that it is the right one, and the page makes its session (see challenge.ts).
 */

type Pairing = CryptoKey | string;

/** What answers does not know the pairing secret, or this browser has none. */
export class NotOurs extends Error {}

/** One entry of a small database of the browser's; `undefined` if it has none, as in some private windows: then it holds for this page. */
async function stored(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
  return await new Promise((resolve) => {
    const fail = () => resolve(undefined);
    try {
      const opening = indexedDB.open('loam', 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore('access');
      opening.onerror = fail;
      opening.onsuccess = () => {
        const asked = use(opening.result.transaction('access', mode).objectStore('access'));
        asked.onerror = fail;
        asked.onsuccess = () => {
          opening.result.close();
          resolve(asked.result);
        };
      };
    } catch {
      fail();
    }
  });
}

let pairing: Promise<Pairing | undefined> | undefined;

function paired(): Promise<Pairing | undefined> {
  pairing ??= stored('readonly', (store) => store.get('pairing')) as Promise<Pairing | undefined>;
  return pairing;
}

const utf8 = new TextEncoder();

async function pairingOf(secret: string): Promise<Pairing> {
  if (!crypto.subtle) return secret;
  return await crypto.subtle.importKey('raw', utf8.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
}

async function mac(key: Pairing, text: string): Promise<string> {
  const bytes =
    typeof key === 'string'
      ? hmac(key, text)
      : new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8.encode(text)));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a link brought that has not been used yet: nothing takes the place of a pairing before the person has said so. */
let offered: string | undefined;

/** Whether this browser is paired, and whether a link offers it another pairing. */
export async function pairingState(): Promise<{ paired: boolean; offered: boolean }> {
  return { paired: (await paired()) !== undefined, offered: offered !== undefined };
}

/** From what a person pasted: the whole link or the bare secret. */
function secretIn(text: string): string {
  return /token=([\w-]+)/.exec(text)?.[1] ?? text.trim();
}

/** Takes the secret out of the address, so that it is in no bookmark and no screenshot. @returns whether there was one */
export async function takeLink(): Promise<boolean> {
  const { hash, pathname } = location;
  // Of an earlier version, which kept its token where every script could read it.
  keep('loam-token', null);
  const code = /[#&]code=([\w-]+)/.exec(hash)?.[1];
  if (!code && !/[#&]token=./.test(hash)) return false;
  history.replaceState(null, '', pathname);
  if (!code) offered = secretIn(hash);
  // A link that opens once; a browser that is paired already needs nothing of it.
  else if (!(await paired())) offered = await redeem(code);
  return true;
}

async function redeem(code: string): Promise<string | undefined> {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(pairPath, { method: 'POST', headers, body: JSON.stringify({ code }) }).catch(
    () => undefined,
  );
  return answer?.ok ? ((await answer.json()) as { pairing: string }).pairing : undefined;
}

let current: { token: string; until: number } | undefined;

/** The session that is on, if there is one. */
export function sessionNow(): string | undefined {
  return current?.token;
}

export function forgetSession(): void {
  current = undefined;
}

/** The session that is on, or a new one. @throws NotOurs; TypeError if nothing answers */
export async function session(): Promise<string> {
  return current && current.until > Date.now() / 1000 + 60 ? current.token : await prove();
}

/** Has the server show who it is now. @returns the session @throws NotOurs; TypeError if nothing answers */
export async function prove(): Promise<string> {
  const known = await paired();
  if (known) {
    const token = await begin(known);
    // The server has one pairing secret: another than that which works is none of its links.
    offered = undefined;
    return token;
  }
  if (offered === undefined) throw new NotOurs(t('This browser has not been let in yet.'));
  return await pair(offered);
}

/** Pairs this browser with the server that a link is of, if that is the one that answers here. @throws NotOurs */
export async function pair(link: string): Promise<string> {
  const key = await pairingOf(secretIn(link));
  const token = await begin(key);
  pairing = Promise.resolve(key);
  offered = undefined;
  await stored('readwrite', (store) => store.put(key, 'pairing'));
  return token;
}

/** Accepts what the link brought, after the person was asked. */
export async function acceptOffer(): Promise<string> {
  return await pair(offered ?? '');
}

/** Forgets everything that lets this browser in. */
export async function disconnect(): Promise<void> {
  pairing = Promise.resolve(undefined);
  offered = current = undefined;
  await stored('readwrite', (store) => store.delete('pairing'));
}

async function begin(key: Pairing): Promise<string> {
  const nonce = [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
  const init = { cache: 'no-store', credentials: 'omit', redirect: 'error' } as const;
  const answer = await fetch(`${helloPath}?nonce=${nonce}`, init);
  const said = (await answer.json().catch(() => ({}))) as Partial<Hello>;
  const hello = { start: String(said.start), until: Number(said.until) };
  if (said.proof !== (await mac(key, proofText(location.host, nonce, hello)))) {
    current = undefined;
    throw new NotOurs(
      t('What answers at this address is not the Loam that this browser knows. Nothing was sent to it.'),
    );
  }
  current = { token: sessionToken(hello.until, await mac(key, sessionText(hello))), until: hello.until };
  return current.token;
}
