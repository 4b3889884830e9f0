export interface SseEvent {
  /** The last id seen, on this event or before it; '' before any. */
  id: string;
  event: string;
  data: string;
  /** The id came with this event. */
  own: boolean;
}

/**
 * Reads a text/event-stream as it arrives (HTML standard, "Parsing an event stream"). The browser's own EventSource cannot send the
 * Authorization header, so streams come through fetch.
 */
export class SseParser {
  #id = '';
  #own = false;
  #event = '';
  #data: string[] = [];
  #rest = '';
  #first = true;
  #afterCr = false;

  /** Takes the next piece of text, cut anywhere; returns the events that are now complete. */
  push(text: string): SseEvent[] {
    if (text === '') return [];
    if (this.#first && text.startsWith('\ufeff')) text = text.slice(1);
    this.#first = false;
    // A line may end in CR, LF or both, and the cut may be between the two.
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = text === '' ? false : text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop()!;
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): SseEvent | undefined {
    if (line === '') {
      const data = this.#data;
      const event = this.#event;
      this.#data = [];
      const own = this.#own;
      this.#event = '';
      this.#own = false;
      return data.length === 0 ? undefined : { id: this.#id, event: event || 'message', data: data.join('\n'), own };
    }
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) {
      this.#id = value;
      this.#own = true;
    }
    return undefined;
  }
}

/** The longest wait, in milliseconds: a server that comes back is seen within this time. */
const LONGEST = 10_000;

/**
 * Milliseconds to wait before attempt number `attempt` (from 1) to reach the server again: doubled each time, half of it random, so that
 * several pages do not ask at the same moment.
 */
export function retryDelay(attempt: number, random = Math.random()): number {
  const full = Math.min(LONGEST, 500 * 2 ** Math.max(0, attempt - 1));
  return full / 2 + (full / 2) * random;
}
