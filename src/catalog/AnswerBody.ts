import type { IncomingMessage } from 'node:http';
import { StoppedError } from '../util/errors.js';
import { SourceError } from './SourceError.js';

/** Bytes that may wait for a slow disk before the server is made to wait. */
const QUEUE = 4 * 1024 * 1024;

export interface Patience {
  signal: AbortSignal | undefined;
  /** Longest silence, milliseconds. */
  stallMs: number;
}

export function stalled(host: string, stallMs: number): SourceError {
  const seconds = Math.round(stallMs / 1000);
  return new SourceError(
    { found: `${host} sent nothing for ${seconds} s`, fix: 'check the connection' },
    { transient: true },
  );
}

/**
 * The body of an HTTP answer. It listens from the moment it is made, so that what arrived before a connection broke is given
 * before the error is thrown: reading the answer itself drops it, and an error before the first read is lost.
 */
export class AnswerBody {
  private queue: Buffer[] = [];
  private queued = 0;
  private ended = false;
  private failure: unknown = null;
  private wake = () => {};

  constructor(
    private readonly response: IncomingMessage,
    private readonly host: string,
  ) {
    const finish = (error: unknown) => {
      this.failure ??= error;
      this.ended = true;
      this.wake();
    };
    response.on('data', (chunk: Buffer) => {
      this.queue.push(chunk);
      this.queued += chunk.length;
      if (this.queued > QUEUE) response.pause();
      this.wake();
    });
    response.once('end', () => finish(null));
    response.on('error', finish);
    response.once('close', () => finish(null));
  }

  /** What comes, as it comes, to be read once; a slow reader is no stall. Throws socket errors, SourceError, StoppedError. */
  async *chunks({ signal, stallMs }: Patience): AsyncGenerator<Buffer> {
    const { response, host } = this;
    const stop = () => response.destroy(new StoppedError());
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    try {
      for (;;) {
        if (this.queued > 0) {
          const chunk = this.queue.length === 1 ? this.queue[0]! : Buffer.concat(this.queue);
          this.queue = [];
          this.queued = 0;
          response.resume();
          yield chunk;
        } else if (this.ended) {
          if (this.failure !== null) throw this.failure;
          return;
        } else {
          const timer = setTimeout(() => response.destroy(stalled(host, stallMs)), stallMs);
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
          clearTimeout(timer);
        }
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      response.destroy();
    }
  }

  /** Closes the connection; the rest is not wanted. */
  destroy(): void {
    this.response.destroy();
  }
}
