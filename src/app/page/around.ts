import { t } from '../logic/language.js';
import { saveFile } from './api.js';
import { keep, readKept } from './browser.js';

/**
 * The phone around the page: what another app shares with it, its share sheet, a notification and a badge when a run has ended. All of it is
 * the browser's; where it has none of something, that is not offered.
 */

/** What another app has shared: files, a text among them as one. */
export type Shared = readonly File[];

/** Milliseconds to wait for the service worker's word. */
const PATIENCE = 3_000;

let held: Promise<Shared> | undefined;

/**
 * What the service worker has taken from another app, or from any web page that sends a form there: nothing of it has gone to the server, and
 * nothing does before the person says so. It is in memory only, so a reload loses it.
 */
export function sharedWithUs(): Promise<Shared> {
  held ??= new Promise((resolve) => {
    const worker = 'serviceWorker' in navigator ? navigator.serviceWorker.controller : null;
    if (!worker) return resolve([]);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }: MessageEvent<unknown>) =>
      resolve(Array.isArray(data) ? data.filter((one): one is File => one instanceof File) : []);
    setTimeout(() => resolve([]), PATIENCE);
    worker.postMessage('shared', [port2]);
  });
  return held;
}

export function dropShared(): void {
  held = undefined;
}

/** Whether the share sheet takes a file of this name. */
export function canShare(name: string): boolean {
  try {
    return navigator.canShare?.({ files: [new File([''], name)] }) === true;
  } catch {
    return false;
  }
}

/** Opens the share sheet; what the browser refuses after all (some know few kinds of files) is saved instead. */
export async function shareFile(content: Blob, name: string): Promise<void> {
  try {
    await navigator.share({ files: [new File([content], name, { type: content.type })] });
  } catch (error) {
    // Otherwise the person has closed the sheet.
    if (!(error instanceof DOMException && error.name === 'AbortError')) saveFile(content, name);
  }
}

/** Whether the person wants to be told when a run ends, kept in this browser. */
const TELL = 'loam-tell';

const hasNotifications = () => 'Notification' in globalThis && 'serviceWorker' in navigator;

/** Whether the browser can tell anything. */
export function canTell(): boolean {
  return hasNotifications() || 'setAppBadge' in navigator;
}

export function isTold(): boolean {
  return readKept(TELL) === 'yes' && (!hasNotifications() || Notification.permission === 'granted');
}

/** Called for a press of the person's, and for nothing else. @returns whether it is so now */
export async function setTold(on: boolean): Promise<boolean> {
  const granted = on && (!hasNotifications() || (await Notification.requestPermission()) === 'granted');
  keep(TELL, granted ? 'yes' : null);
  return granted;
}

/** A run has come to its end: says so, unless the page is in sight. What it says can be read on a locked phone, so it names nothing. */
export async function tellEnd({ id, state }: { id: string; state: string }): Promise<void> {
  if (!isTold() || document.visibilityState === 'visible') return;
  void navigator.setAppBadge?.(1).catch(() => {});
  if (!hasNotifications()) return;
  const body = t(state === 'done' ? 'A run has ended: it has learnt.' : 'A run has ended without a result.');
  const worker = await navigator.serviceWorker.ready;
  await worker
    .showNotification('Loam', { body, tag: 'loam-run', icon: '/icons/icon-192.png', data: `/#/jobs/${id}` })
    .catch(() => {});
}

const clearBadge = () => {
  if (document.visibilityState === 'visible') void navigator.clearAppBadge?.().catch(() => {});
};
document.addEventListener('visibilitychange', clearBadge);
clearBadge();
