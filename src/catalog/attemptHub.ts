import { bytes, count } from '../util/format.js';
import { checkMagic, webPage } from './checkContent.js';
import { contentRange } from './contentRange.js';
import { expectation } from './expectation.js';
import { explainNetworkError } from './explainNetworkError.js';
import { addressOf } from './hub.js';
import { openHubFile } from './openHubFile.js';
import type { PartialFile } from './PartialFile.js';
import { requireFreeSpace } from './requireFreeSpace.js';
import { SourceError } from './SourceError.js';
import { type Sidecar, writeSidecar } from './sidecar.js';
import { throttle } from './throttle.js';
import type { Fetchable, FetchContext, FetchEvent, HubSource } from './types.js';

/**
 * One request, for the bytes that the partial file still lacks. Returns what was learnt of the file once it is complete;
 * throws SourceError when it is not, with what has arrived kept, LoamError for a full disk, StoppedError.
 */
export async function* attemptHub(
  entry: Fetchable,
  source: HubSource,
  context: FetchContext,
  partial: PartialFile,
  previous: Sidecar | null,
): AsyncGenerator<FetchEvent, Sidecar> {
  const { folder, signal, timing, freeBytes } = context;
  const offset = partial.length;
  const answer = await openHubFile(source, context, { offset, ifRange: previous?.etag ?? undefined });
  const { body, headers, host, stated, status } = answer;
  try {
    if (/^text\/html/i.test(headers['content-type'] ?? '')) throw webPage(host);
    const expected = expectation(entry, answer);
    if (offset > 0 && previous?.sha256 !== expected.sha256) {
      throw new SourceError(
        { found: 'the file on the hub has changed since the earlier download' },
        { transient: true, startOver: true, waitMs: 0 },
      );
    }
    if (status === 206 && contentRange(headers['content-range'])?.start !== offset) {
      throw new SourceError(
        { found: `${host} sent another part of the file than was asked for` },
        { transient: true, startOver: true },
      );
    }
    // A 200 is the whole file: the server does not do ranges, or its file is another than the one we have a part of.
    if (status === 200 && offset > 0) await partial.restart();
    await requireFreeSpace(folder, expected.size - partial.length, freeBytes);
    const etag = headers.etag;
    const sidecar: Sidecar = {
      version: 1,
      url: addressOf(source, context.endpoint),
      ...expected,
      etag: etag === undefined || etag.startsWith('W/') ? null : etag,
      commit: stated.commit ?? (/^[0-9a-f]{40}$/.test(source.revision) ? source.revision : null),
    };
    await writeSidecar(`${partial.path}.json`, sidecar);
    const due = throttle(timing.progressMs);
    try {
      for await (const chunk of body.chunks({ signal, stallMs: timing.stallMs })) {
        if (partial.length + chunk.length > expected.size) {
          throw new SourceError(
            { found: `${host} sent more than the ${count(expected.size)} bytes of the file`, fix: 'run again' },
            { startOver: true },
          );
        }
        await partial.append(chunk);
        if (partial.head.length === 4) checkMagic(partial.head, host);
        if (due()) yield { type: 'progress', stage: 'download', done: partial.length, total: expected.size };
      }
    } catch (error) {
      throw explainNetworkError(error, host);
    }
    if (partial.length < expected.size) {
      throw new SourceError(
        {
          found: `${host} sent ${bytes(partial.length)} of ${bytes(expected.size)}`,
          fix: 'run again, it goes on from there',
        },
        { transient: true },
      );
    }
    yield { type: 'progress', stage: 'download', done: partial.length, total: expected.size };
    return sidecar;
  } finally {
    body.destroy();
  }
}
