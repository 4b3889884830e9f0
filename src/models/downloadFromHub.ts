import { join } from 'node:path';
import { throwIfStopped } from '../base/errors.js';
import { bytes, count } from '../base/format.js';
import { explainNetworkError, pause, SourceError } from './http.js';
import { addressOf, contentRange, openHubFile } from './hub.js';
import { checkMagic, checkWhole, expectation, PartialFile, requireFreeSpace, throttle, webPage } from './partial.js';
import {
  type Fetchable,
  type FetchContext,
  type HubSource,
  readSidecar,
  removeSidecar,
  type Sidecar,
  writeSidecar,
} from './register.js';

/**
 * One request, for the bytes that the partial file still lacks. Returns what was learnt of the file once it is complete;
 * throws SourceError when it is not, with what has arrived kept, LoamError for a full disk, StoppedError.
 */
async function attemptHub(
  entry: Fetchable,
  source: HubSource,
  context: FetchContext,
  partial: PartialFile,
  previous: Sidecar | null,
): Promise<Sidecar> {
  const { folder, emit, signal, timing, freeBytes } = context;
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
        if (due()) emit({ type: 'progress', stage: 'download', done: partial.length, total: expected.size });
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
    emit({ type: 'progress', stage: 'download', done: partial.length, total: expected.size });
    return sidecar;
  } finally {
    body.destroy();
  }
}

/** What a source hands back when the file stands under its final name. */
export interface Delivered {
  bytes: number;
  sha256: string;
  /** Commit of the hub's repository, where it is known. */
  commit: string | null;
}

/** So many new bytes mean that a connection works, however often it breaks. */
const PROGRESS = 1 << 20;

/**
 * Downloads a file of the hub to its place in the models folder, going on from what an earlier run left in FILE.partial. A
 * connection that breaks is taken up again, with growing pauses, until it brings nothing new for `retries` times.
 * Throws SourceError when the hub or its CDN fails for good, LoamError for a full or read-only disk, StoppedError; what has
 * arrived is kept unless it is known to be bad.
 */
export async function downloadFromHub(entry: Fetchable, source: HubSource, context: FetchContext): Promise<Delivered> {
  const { folder, emit, signal, timing } = context;
  const path = join(folder, entry.file);
  const sidecarPath = `${path}.partial.json`;
  const partial = await PartialFile.open(`${path}.partial`);
  try {
    let sidecar = await readSidecar(sidecarPath);
    const onDisk = await partial.sizeOnDisk();
    // The hash says what file a part is of; the address may change, with a mirror or a new commit of the same file.
    const usable = sidecar !== null && (entry.sha256 ?? sidecar.sha256) === sidecar.sha256 && onDisk <= sidecar.size;
    const url = addressOf(source, context.endpoint);
    if (sidecar !== null && sidecar.url !== url) sidecar = { ...sidecar, etag: null };
    if (!usable) {
      sidecar = null;
      if (onDisk > 0) await partial.restart();
    } else {
      for await (const done of partial.readExisting(signal)) emit({ type: 'checking', done, total: onDisk });
    }
    let resumed = partial.length > 0;
    let answered = false;
    let failures = 0;
    let mark = partial.length;
    for (;;) {
      try {
        // Complete already when an earlier run ended between the last byte and the new name.
        if (sidecar === null || partial.length < sidecar.size)
          sidecar = await attemptHub(entry, source, context, partial, sidecar);
        checkWhole(partial, sidecar, context.endpoint.host);
        break;
      } catch (error) {
        throwIfStopped(signal);
        if (!(error instanceof SourceError)) throw error;
        if (error.startOver) {
          await partial.restart();
          await removeSidecar(sidecarPath);
          sidecar = null;
        } else sidecar = (await readSidecar(sidecarPath)) ?? sidecar;
        answered ||= partial.length > mark || error.busy;
        // A power cut can leave a hole in what was kept: then a whole download deserves one try before the hash is blamed.
        const again: boolean = error.transient || (error.offline && answered) || (error.startOver && resumed);
        resumed = partial.length > 0 && resumed;
        if (partial.length >= mark + PROGRESS) failures = 0;
        mark = partial.length;
        failures++;
        // A source that never answers gets one more try only: another source may be reachable.
        const limit = answered ? timing.retries : Math.min(1, timing.retries);
        const wait = error.waitMs ?? timing.backoffMs * 2 ** (failures - 1);
        if (!again || failures > limit || wait > timing.maxWaitMs) throw error;
        emit({ type: 'retry', reason: error.message, seconds: wait / 1000, attempt: failures, of: limit });
        await pause(wait, signal);
      }
    }
    const delivered = { bytes: partial.length, sha256: partial.sha256(), commit: sidecar.commit };
    await partial.publish(path);
    await removeSidecar(sidecarPath);
    return delivered;
  } catch (error) {
    if (partial.length === 0) {
      await partial.remove();
      await removeSidecar(sidecarPath);
    }
    throw error;
  } finally {
    await partial.close();
  }
}
