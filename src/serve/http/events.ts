import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Wakeup } from '../../base/events.js';

/** Events kept for those who come back; whoever was away longer reloads everything. */
const KEPT = 2000;
/** A listener that is this far behind will not catch up: it is told to reload everything. */
const MAX_BEHIND = 5000;

/** Of a channel itself: an id to come back with; and that what came after the listener's last event is not known any more. */
type ChannelEvent = { type: 'hello' } | { type: 'reset' };

/** Events for any number of listeners, each of which may come back and continue where it was. */
export class EventChannel<E extends { type: string }> {
  /** Of this channel in this process: an id of another one tells nothing. */
  private readonly epoch = randomBytes(6).toString('hex');
  private readonly kept: { number: number; data: E }[] = [];
  private last = 0;
  private readonly listeners = new Set<() => void>();
  private ended = false;

  /** The id of the last event: what comes after it is listened to by it. */
  get now(): string {
    return this.idOf(this.last);
  }

  private idOf(number: number): string {
    return `${this.epoch}-${number}`;
  }

  emit(data: E): void {
    this.kept.push({ number: ++this.last, data });
    // In steps, so that the list is not moved for each event.
    if (this.kept.length >= 2 * KEPT) this.kept.splice(0, this.kept.length - KEPT);
    for (const wake of this.listeners) wake();
  }

  /** Ends every listener's stream, once it has read what there is. */
  end(): void {
    this.ended = true;
    for (const wake of this.listeners) wake();
  }

  /**
   * What came after event `after`, then what comes. Without `after`: what comes from now on. An `after` that this channel does not
   * know, or no longer, gives an event of type "reset" first.
   */
  async *listen(
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<ServerEvent<E | ChannelEvent>, void, void> {
    let at = this.last;
    if (after !== undefined) {
      const [, epoch, number] = /^([0-9a-f]+)-(\d{1,15})$/.exec(after) ?? [];
      const known = epoch === this.epoch && Number(number) >= this.first - 1 && Number(number) <= this.last;
      if (known) at = Number(number);
      else yield this.reset();
    } else {
      // Gives the client an id before the first event.
      yield { id: this.idOf(at), data: { type: 'hello' } };
    }
    const wakeup = new Wakeup();
    const { wake } = wakeup;
    this.listeners.add(wake);
    signal.addEventListener('abort', wake);
    try {
      for (;;) {
        if (signal.aborted) return;
        if (at < this.first - 1 || this.last - at > MAX_BEHIND) {
          at = this.last;
          yield this.reset();
          continue;
        }
        const next = this.kept[at + 1 - this.first];
        if (next) {
          at = next.number;
          yield { id: this.idOf(at), data: next.data };
          continue;
        }
        if (this.ended) return;
        await wakeup.sleep();
      }
    } finally {
      this.listeners.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }

  private get first(): number {
    return this.kept[0]?.number ?? this.last + 1;
  }

  private reset(): ServerEvent<ChannelEvent> {
    return { id: this.now, data: { type: 'reset' } };
  }
}

/** Milliseconds between two comments on a silent stream: a client that has gone without a word is noticed by them. */
const HEARTBEAT_MS = 15_000;

/** Writes events as they come, no faster than the client reads. `response` must have had its headers set. */
export async function sendEvents(
  response: ServerResponse,
  { events, format }: { events: AsyncIterable<ServerEvent>; format: EventFormat },
  signal: AbortSignal,
): Promise<void> {
  const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
  try {
    for await (const event of events) {
      if (signal.aborted) return;
      if (!response.write(encode(event, format))) await drained(response, signal);
    }
    if (format === 'openai') response.write('data: [DONE]\n\n');
  } finally {
    clearInterval(heartbeat);
  }
}

function encode({ id, data }: ServerEvent, format: EventFormat): string {
  const name = format === 'named' ? `event: ${(data as { type: string }).type}\n` : '';
  // JSON holds no line break.
  return `${id === undefined ? '' : `id: ${id}\n`}${name}data: ${JSON.stringify(data)}\n\n`;
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.on('drain', done);
    signal.addEventListener('abort', done);
  });
}

/** One server-sent event; `data` is JSON. */
export interface ServerEvent<T = unknown> {
  /** `EPOCH-N`: what a client sends as Last-Event-ID to go on after it. */
  readonly id?: string;
  readonly data: T;
}

/** `named`: the `type` of an event's data is its name. `openai`: no names, and "[DONE]" after the last one. */
export type EventFormat = 'named' | 'openai';
