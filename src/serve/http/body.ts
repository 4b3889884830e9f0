import type { IncomingMessage } from 'node:http';
import type { TSchema } from 'typebox';
import { LoamError } from '../../base/errors.js';
import { bytes as formatBytes } from '../../base/format.js';
import { HttpError } from './errors.js';
import { readJson } from './readJson.js';
import type { AnyRoute } from './route.js';

/** Bodies: which kind a request brings, and its bytes, in memory in proportion to what has come. */

/** JSON requests are forms and short texts. */
const JSON_LIMIT = 1 << 20;
/** Where no body is expected some clients send "{}". */
const NO_BODY_LIMIT = 1024;

/** The media type alone, lower case. */
function mediaType(header: string | undefined): string | undefined {
  return header === undefined ? undefined : header.split(';')[0]!.trim().toLowerCase();
}

export type BodyKind = 'json' | 'bytes' | 'none';

/** @throws HttpError: content-type, content-encoding; before anything of the body is read */
export function checkContentType<C>(request: Pick<IncomingMessage, 'headers'>, route: AnyRoute<C>): BodyKind {
  const type = mediaType(request.headers['content-type']);
  const { headers } = request;
  const has = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const accepted = [
    ...(route.bytesLimit === undefined ? [] : ['application/octet-stream']),
    ...(route.body !== undefined || route.bytesLimit === undefined ? ['application/json'] : []),
  ];
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpError('content-encoding', 'compressed bodies are not accepted');
  }
  if (type === undefined && !has && route.body === undefined && route.bytesLimit === undefined) return 'none';
  if (type === undefined || !accepted.includes(type)) {
    throw new HttpError('content-type', `a wrong content type, expected ${accepted.join(' or ')}`);
  }
  if (type === 'application/octet-stream') return 'bytes';
  return route.body === undefined && !has ? 'none' : 'json';
}

/** Simultaneous requests with large bodies: each is held in memory as a whole. */
const MAX_LARGE = 2;
const LARGE_BYTES = 4 << 20;

/** Room for bodies, shared by the requests of a server. */
export class BodyRoom {
  private large = 0;

  /**
   * Reads and checks what comes with a request.
   * @param release gets what gives the room of a large body back, once the request is answered
   * @throws HttpError, LoamError
   */
  async read<C>(
    request: IncomingMessage,
    route: AnyRoute<C>,
    kind: BodyKind,
    release: (give: () => void) => void,
  ): Promise<{ body?: unknown; bytes?: Uint8Array }> {
    if (kind === 'none') return {};
    const takeLarge = () => {
      if (this.large >= MAX_LARGE) {
        const found = 'other large bodies are being received';
        throw new LoamError({ code: 'busy', found, fix: 'try again in a moment' });
      }
      this.large++;
      release(() => this.large--);
    };
    if (kind === 'bytes') return { bytes: await readBody(request, route.bytesLimit!, takeLarge) };
    const schema = route.body as TSchema | undefined;
    const limit = schema === undefined ? NO_BODY_LIMIT : (route.bodyLimit ?? JSON_LIMIT);
    const bytes = await readBody(request, limit, takeLarge);
    if (bytes.length === 0 && schema === undefined) return {};
    return { body: await readJson(bytes, schema) };
  }
}

/** A sender slower than this, after some patience, holds the room for nothing: 1 KiB a second is far below any network. */
const SLOWEST = 1024;
const PATIENCE_MS = 30_000;

/**
 * The body of a request, at most `limit` bytes: a larger one is refused by its stated length, or while it comes.
 * @param takeLarge called once the body is known to be large
 * @throws LoamError: too-large; HttpError: incomplete, if the client goes before the end or is too slow
 */
async function readBody(request: IncomingMessage, limit: number, takeLarge: () => void): Promise<Buffer> {
  const tooLarge = () => new LoamError({ code: 'too-large', found: `more than ${formatBytes(limit)}, the limit here` });
  const stated = request.headers['content-length'];
  const length = stated === undefined ? undefined : Number(stated);
  if (length !== undefined && length > limit) throw tooLarge();
  let isLarge = false;
  const counted = (size: number) => {
    if (isLarge || size <= LARGE_BYTES) return;
    isLarge = true;
    takeLarge();
  };
  if (length !== undefined) counted(length);
  // One buffer that grows: a list of pieces would take a hundred bytes for a chunk of one.
  let whole = Buffer.allocUnsafe(length ?? Math.min(limit, 64 << 10));
  let read = 0;
  const take = (piece: Buffer) => {
    const next = read + piece.length;
    if (next > limit) throw tooLarge();
    counted(next);
    if (next > whole.length) {
      const more = Buffer.allocUnsafe(Math.min(limit, Math.max(next, 2 * whole.length)));
      whole.copy(more, 0, 0, read);
      whole = more;
    }
    piece.copy(whole, read);
    read = next;
  };
  const began = performance.now();
  const watch = setInterval(() => {
    const late = performance.now() - began - PATIENCE_MS;
    if (late > 0 && read < (late / 1000) * SLOWEST) request.destroy();
  }, PATIENCE_MS / 3);
  try {
    await eachPiece(request, take);
  } catch (error) {
    throw error instanceof LoamError ? error : new HttpError('incomplete', 'the request ended before its body did');
  } finally {
    clearInterval(watch);
  }
  if (length !== undefined && read !== length) {
    throw new HttpError('incomplete', 'the request ended before its body did');
  }
  return whole.subarray(0, read);
}

/** So many pieces at most in a turn: one read of a network brings ten thousand of one byte, and the others shall have theirs between. */
const PIECES_A_TURN = 4096;
const TURN_MS = 10;

async function eachPiece(request: IncomingMessage, take: (piece: Buffer) => void): Promise<void> {
  let rest: NodeJS.Timeout | undefined;
  let stop = () => {};
  let pieces = 0;
  const resume = () => {
    pieces = 0;
    rest = undefined;
    request.resume();
  };
  try {
    await new Promise<void>((resolve, reject) => {
      const onData = (piece: Buffer) => {
        try {
          take(piece);
        } catch (error) {
          reject(error);
        }
        if (++pieces < PIECES_A_TURN || rest) return;
        request.pause();
        rest = setTimeout(resume, TURN_MS);
      };
      const onClose = () => reject(new Error('closed'));
      stop = () => void request.off('data', onData).off('end', resolve).off('close', onClose).off('error', reject);
      request.on('data', onData).on('end', resolve).on('close', onClose).on('error', reject);
      if (request.destroyed) onClose();
    });
  } finally {
    clearTimeout(rest);
    stop();
  }
}
