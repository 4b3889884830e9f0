/** Words for those who listen to the page: said by the live region that App holds, whatever is on screen. */
const listeners = new Set<(text: string) => void>();

export function onAnnounce(listener: (text: string) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function announce(text: string): void {
  for (const listener of listeners) listener(text);
}
