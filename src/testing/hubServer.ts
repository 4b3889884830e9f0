import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A model hub on this machine for tests: a hub that states hash and size and redirects to a CDN with another host and port. */

export interface Seen {
  server: 'hub' | 'cdn';
  path: string;
  headers: IncomingMessage['headers'];
}

export type Reply = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

export const COMMIT = 'c'.repeat(40);

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** A file that begins as GGUF does and then holds bytes that differ from place to place. */
export function fakeModel(length: number, seed = 1): Buffer {
  const data = Buffer.alloc(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    data[i] = x >>> 24;
  }
  data.write('GGUF', 'latin1');
  return data;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export class HubServer {
  readonly requests: Seen[] = [];
  hub = '';
  cdn = '';
  /** Replace the normal answers. */
  hubReply: Reply = (_request, _response, next) => next();
  cdnReply: Reply = (_request, _response, next) => next();
  /** For each CDN request in turn: close the connection after so many bytes of the body. */
  dropAfter: number[] = [];
  /** Like `dropAfter`, but the connection stays open and silent. */
  stallAfter: number[] = [];
  statedSha256: string | null;
  cdnEtag = '"xet-1"';
  private readonly servers: Server[] = [];

  private constructor(
    public data: Buffer,
    readonly path: string,
  ) {
    this.statedSha256 = sha256(data);
  }

  static async start(data: Buffer, path = '/owner/repo/resolve/main/model.gguf'): Promise<HubServer> {
    const it = new HubServer(data, path);
    const serve = (name: 'hub' | 'cdn', answer: Reply, custom: () => Reply) => {
      const server = createServer((request, response) => {
        it.requests.push({ server: name, path: request.url ?? '', headers: request.headers });
        custom()(request, response, () => answer(request, response, () => {}));
      });
      it.servers.push(server);
      return listen(server);
    };
    it.hub = await serve(
      'hub',
      (q, r) => it.answerHub(q, r),
      () => it.hubReply,
    );
    it.cdn = await serve(
      'cdn',
      (q, r) => it.answerCdn(q, r),
      () => it.cdnReply,
    );
    return it;
  }

  private answerHub(request: IncomingMessage, response: ServerResponse): void {
    if (request.url !== this.path) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end('Entry not found');
      return;
    }
    response.writeHead(302, {
      location: `${this.cdn}/blob?Signature=secret`,
      'x-linked-size': String(this.data.length),
      'x-repo-commit': COMMIT,
      ...(this.statedSha256 === null ? {} : { 'x-linked-etag': `"${this.statedSha256}"` }),
    });
    response.end('Found. Redirecting');
  }

  private answerCdn(request: IncomingMessage, response: ServerResponse): void {
    const { data } = this;
    const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const ifRange = request.headers['if-range'];
    let start = 0;
    if (asked !== null && (ifRange === undefined || ifRange === this.cdnEtag)) {
      start = Number(asked[1]);
      if (start >= data.length) {
        response.writeHead(416, { 'content-range': `bytes */${data.length}` }).end();
        return;
      }
      response.statusCode = 206;
      response.setHeader('content-range', `bytes ${start}-${data.length - 1}/${data.length}`);
    }
    const body = data.subarray(start);
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('content-length', body.length);
    response.setHeader('etag', this.cdnEtag);
    const drop = this.dropAfter.shift();
    const stall = this.stallAfter.shift();
    if (drop !== undefined) response.write(body.subarray(0, drop), () => response.socket?.destroy());
    else if (stall !== undefined) response.write(body.subarray(0, stall));
    else response.end(body);
  }

  /** The Range headers that the CDN has seen, null for none. */
  ranges(): (string | null)[] {
    return this.requests.filter((r) => r.server === 'cdn').map((r) => r.headers.range ?? null);
  }

  async close(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
}
