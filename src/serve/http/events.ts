import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';

type Data = ServerEvent['data'] & Readonly<Record<string, unknown>>;

/** Events kept for those who come back; who was away longer loads everything anew. */
const KEPT = 2000;
/** A listener that reads so slowly is behind for good: it is told to load everything anew. */
const MAX_BEHIND = 5000;

/** Events for any number of listeners, each of which may come back and go on where it was. */
export class EventChannel {
  /** Of this channel in this process: an id of another one tells nothing. */
  private readonly epoch = randomBytes(6).toString('hex');
  private readonly kept: { number: number; data: Data }[] = [];
  private last = 0;
  private readonly listeners = new Set<() => void>();
  private ended = false;

  emit(data: Data): void {
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
  async *listen(after: string | undefined, signal: AbortSignal): AsyncGenerator<ServerEvent, void, void> {
    let at = this.last;
    if (after !== undefined) {
      const [, epoch, number] = /^([0-9a-f]+)-(\d{1,15})$/.exec(after) ?? [];
      const known = epoch === this.epoch && Number(number) >= this.first - 1 && Number(number) <= this.last;
      if (known) at = Number(number);
      else yield this.reset();
    } else {
      // Gives the client an id before the first event.
      yield { id: `${this.epoch}-${at}`, data: { type: 'hello' } };
    }
    let wake = () => {};
    const listener = () => wake();
    this.listeners.add(listener);
    signal.addEventListener('abort', listener);
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
          yield { id: `${this.epoch}-${at}`, data: next.data };
          continue;
        }
        if (this.ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.listeners.delete(listener);
      signal.removeEventListener('abort', listener);
    }
  }

  private get first(): number {
    return this.kept[0]?.number ?? this.last + 1;
  }

  private reset(): ServerEvent {
    return { id: `${this.epoch}-${this.last}`, data: { type: 'reset' } };
  }
}

/** Milliseconds between two comments on a silent stream: a client that has gone without a word is noticed by them. */
const HEARTBEAT_MS = 15_000;

/** Writes events as they come, no faster than the client reads. `response` must have had its headers set. */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<ServerEvent>,
  signal: AbortSignal,
): Promise<void> {
  const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
  try {
    for await (const event of events) {
      if (signal.aborted) return;
      if (!response.write(format(event))) await drained(response, signal);
    }
  } finally {
    clearInterval(heartbeat);
  }
}

function format({ id, data, raw }: ServerEvent): string {
  // JSON holds no line break.
  if (raw !== undefined) return `data: ${raw}\n\n`;
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
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

/** One server-sent event. `data` is JSON; its `type` names the event. */
export interface ServerEvent {
  /** `EPOCH-N`: what a client sends as Last-Event-ID to go on after it. */
  readonly id?: string;
  readonly data: Readonly<Record<string, unknown>> & { readonly type: string };
  /** Sent instead of `data`, without an event's name: OpenAI's streams. */
  readonly raw?: string;
}
