import { join } from 'node:path';
import { throwIfStopped } from '../util/errors.js';
import { attemptHub } from './attemptHub.js';
import { checkWhole } from './checkContent.js';
import { addressOf } from './hub.js';
import { PartialFile } from './PartialFile.js';
import { pause } from './pause.js';
import { SourceError } from './SourceError.js';
import { readSidecar, removeSidecar } from './sidecar.js';
import type { Fetchable, FetchContext, FetchEvent, HubSource } from './types.js';

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
export async function* downloadFromHub(
  entry: Fetchable,
  source: HubSource,
  context: FetchContext,
): AsyncGenerator<FetchEvent, Delivered> {
  const { folder, signal, timing } = context;
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
      for await (const done of partial.readExisting(signal)) yield { type: 'checking', done, total: onDisk };
    }
    let resumed = partial.length > 0;
    let answered = false;
    let failures = 0;
    let mark = partial.length;
    for (;;) {
      try {
        // Complete already when an earlier run ended between the last byte and the new name.
        if (sidecar === null || partial.length < sidecar.size)
          sidecar = yield* attemptHub(entry, source, context, partial, sidecar);
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
        yield { type: 'retry', reason: error.message, seconds: wait / 1000, attempt: failures, of: limit };
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
