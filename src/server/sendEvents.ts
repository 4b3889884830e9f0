import type { ServerResponse } from 'node:http';
import type { ServerEvent } from './ServerEvent.js';

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
