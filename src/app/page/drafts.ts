import { useLayoutEffect, useState } from 'preact/hooks';
import { call } from './api.js';

/**
 * What a person has typed or chosen and not sent yet: kept over screens, reloads and a server that is gone, and the same in every tab.
 * It lies in the browser's storage encrypted; the key is the vault's, so a locked vault locks drafts too, and deleting everything
 * deletes it. Where a browser has no such storage or no encryption (a page from another device without it), drafts last as long as the page.
 */

interface Draft {
  /** Of its record, which says nothing of what it is. */
  id: string;
  value: unknown;
}

const drafts = new Map<string, Draft>();
let key: { id: string; crypto: CryptoKey } | undefined;
const listeners = new Set<(name: string) => void>();
const otherTabs = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel('loam-drafts');
otherTabs?.addEventListener('message', ({ data }: MessageEvent<{ name: string; value: unknown }>) => {
  take(data.name, data.value);
  tell(data.name);
});

/** Reads what was kept. Called when the vault is open; never fails. */
export async function openDrafts(): Promise<void> {
  const next = await keyOfVault();
  if (next?.id === key?.id) return;
  // Those of another vault.
  if (key) drafts.clear();
  key = next;
  if (!next) return;
  // Typed before the key was at hand.
  for (const name of drafts.keys()) unsaved.add(name);
  const records = ((await stored('readonly', (store) => store.getAll())) ?? []) as Sealed[];
  for (const record of records) {
    const isStray = record.of !== next.id;
    if (isStray && Date.now() - record.at > STRAY_MS) await stored('readwrite', (store) => store.delete(record.id));
    if (isStray) continue;
    const opened = await open(next.crypto, record.sealed);
    if (opened && !drafts.has(opened.name)) drafts.set(opened.name, { id: record.id, value: opened.value });
  }
  void save();
}

/** The vault was locked: nothing of it stays in memory. */
export function closeDrafts(): void {
  key = undefined;
  drafts.clear();
}

export function readDraft<T>(name: string): T | undefined {
  return drafts.get(name)?.value as T | undefined;
}

/** @param value plain JSON; undefined ends the draft */
export function writeDraft(name: string, value: unknown): void {
  take(name, value);
  otherTabs?.postMessage({ name, value });
  tell(name);
  unsaved.add(name);
  void save();
}

/** Ends those whose names hold one of these: what is deleted takes with it what was typed about it. */
export function dropDrafts(...parts: string[]): void {
  for (const name of [...drafts.keys()]) if (parts.some((part) => name.includes(part))) writeDraft(name, undefined);
}

/** Draws anew when a draft changes that is meant. @param of what `isMeant` depends on */
function useChanges(of: string, isMeant: (name: string) => boolean): void {
  const [, setRound] = useState(0);
  // Before anything can be typed.
  useLayoutEffect(() => {
    const listener = (changed: string) => {
      if (isMeant(changed)) setRound((round) => round + 1);
    };
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, [of]);
}

/**
 * State that lasts: as `useState`, under a name that is the same wherever the same thing is typed. What is as at the beginning is no
 * draft.
 */
export function useDraft<T>(name: string, initial: T): [T, (next: T) => void] {
  useChanges(name, (changed) => changed === name);
  const set = (next: T) => writeDraft(name, JSON.stringify(next) === JSON.stringify(initial) ? undefined : next);
  return [readDraft<T>(name) ?? initial, set];
}

/** All drafts whose names begin so, by the rest of their names. */
export function useDrafts<T>(prefix: string): [string, T][] {
  useChanges(prefix, (changed) => changed.startsWith(prefix));
  return [...drafts].flatMap(([name, { value }]): [string, T][] =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), value as T]] : [],
  );
}

function take(name: string, value: unknown): void {
  const id = drafts.get(name)?.id ?? crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  // An ended one is remembered until its record is gone.
  drafts.set(name, { id, value });
}

function tell(name: string): void {
  for (const listener of listeners) listener(name);
}

const unsaved = new Set<string>();
let saving = false;

/** Each change at once: a phone may end the page at any moment. What changes meanwhile follows. */
async function save(): Promise<void> {
  if (saving) return;
  saving = true;
  for (const name of unsaved) {
    unsaved.delete(name);
    const draft = drafts.get(name);
    if (!draft || !key) continue;
    const { id, value } = draft;
    if (value === undefined) {
      drafts.delete(name);
      await stored('readwrite', (store) => store.delete(id));
    } else {
      const record: Sealed = { id, of: key.id, at: Date.now(), sealed: await seal(key.crypto, { name, value }) };
      await stored('readwrite', (store) => store.put(record));
    }
  }
  saving = false;
  if (unsaved.size > 0) await save();
}

/** As it lies in the browser's storage. `of`: of which key; `at`: when, in milliseconds since 1970. */
interface Sealed {
  id: string;
  of: string;
  at: number;
  sealed: Uint8Array<ArrayBuffer>;
}

/** Milliseconds after which drafts of another vault at this address go. */
const STRAY_MS = 90 * 86_400_000;
const IV = 12;

async function keyOfVault(): Promise<typeof key> {
  if (!crypto.subtle) return undefined;
  const answer = await call<{ key: string }>('POST', '/api/drafts/key', { body: {} }).catch(() => undefined);
  if (!answer) return key;
  const bytes = Uint8Array.from(atob(answer.key), (letter) => letter.charCodeAt(0));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).slice(0, 8);
  const id = [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { id, crypto: await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']) };
}

async function seal(by: CryptoKey, draft: { name: string; value: unknown }): Promise<Uint8Array<ArrayBuffer>> {
  const iv = crypto.getRandomValues(new Uint8Array(IV));
  const text = new TextEncoder().encode(JSON.stringify(draft));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, by, text));
  const whole = new Uint8Array(IV + sealed.length);
  whole.set(iv);
  whole.set(sealed, IV);
  return whole;
}

async function open(by: CryptoKey, whole: Uint8Array): Promise<{ name: string; value: unknown } | undefined> {
  const iv = new Uint8Array(whole.slice(0, IV));
  const text = await crypto.subtle
    .decrypt({ name: 'AES-GCM', iv }, by, new Uint8Array(whole.slice(IV)))
    .catch(() => undefined);
  return text && (JSON.parse(new TextDecoder().decode(text)) as { name: string; value: unknown });
}

let database: Promise<IDBDatabase | undefined> | undefined;

/** Something in the browser's storage; undefined if it has none. */
async function stored(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
  database ??= new Promise((resolve) => {
    try {
      const opening = indexedDB.open('loam-drafts', 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore('drafts', { keyPath: 'id' });
      opening.onerror = () => resolve(undefined);
      opening.onsuccess = () => resolve(opening.result);
    } catch {
      resolve(undefined);
    }
  });
  const db = await database;
  if (!db) return undefined;
  return await new Promise((resolve) => {
    const transaction = db.transaction('drafts', mode);
    const asked = use(transaction.objectStore('drafts'));
    transaction.onabort = () => resolve(undefined);
    transaction.oncomplete = () => resolve(asked.result);
  });
}
