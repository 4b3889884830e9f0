import type { IncomingMessage } from 'node:http';
import { bytes as formatBytes } from '../util/format.js';
import { HttpError } from './HttpError.js';

/**
 * The body of a request, at most `limit` bytes: a larger one is refused by its stated length, or while it comes.
 * @throws HttpError 413, 400 where the client went before the end
 */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const tooLarge = () =>
    new HttpError(413, `more than ${formatBytes(limit)}, which is the most that is taken here`, 'too-large', {
      connection: 'close',
    });
  const stated = request.headers['content-length'];
  const length = stated === undefined ? undefined : Number(stated);
  if (length !== undefined && length > limit) throw tooLarge();
  // With a stated length there is one buffer of that size, not a list of pieces and a copy of it.
  let whole = length === undefined ? undefined : Buffer.allocUnsafe(length);
  const pieces: Buffer[] = [];
  let read = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      if (read + piece.length > limit) throw tooLarge();
      if (whole) piece.copy(whole, read);
      else pieces.push(piece);
      read += piece.length;
    }
  } catch (error) {
    if (error instanceof HttpError) throw error;
    throw new HttpError(400, 'the request ended before its body did', 'incomplete');
  }
  whole ??= Buffer.concat(pieces);
  if (read !== whole.length) throw new HttpError(400, 'the request ended before its body did', 'incomplete');
  return whole;
}
