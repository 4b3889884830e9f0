import { bytes, count } from '../base/format.js';
import { requireFreeSpace } from '../base/io.js';
import type { Fetchable, HubSource } from './catalogue.js';
import { type FetchContext, SourceError, type Supply, throttle } from './download.js';
import { explainNetworkError } from './http.js';
import { addressOf, contentRange, type HubAnswer, openHubFile } from './hub.js';
import { type PartialFile, webPage } from './partial.js';

/** A file of the model hub: one request for the bytes that are still missing, checked against what the hub states of the file. */
export function fromHub(entry: Fetchable, source: HubSource, context: FetchContext): Supply {
  const { emit, endpoint, signal, timing } = context;
  return {
    host: endpoint.host,
    ending: '.partial',
    async resume(partial) {
      const total = await partial.sizeOnDisk();
      const { known } = partial;
      // The hash says what file a part is of; the address may change, with a mirror or a new commit of the same file.
      if (known === null || (entry.sha256 ?? known.sha256) !== known.sha256 || total > known.size) {
        await partial.restart();
        return;
      }
      if (known.url !== addressOf(source, endpoint)) partial.known = { ...known, etag: null };
      for await (const done of partial.readExisting(signal)) emit({ type: 'checking', done, total });
    },
    async fill(partial) {
      // Complete already when an earlier run ended between the last byte and the new name.
      if (partial.known !== null && partial.length >= partial.known.size) return partial.known;
      const offset = partial.length;
      const answer = await openHubFile(source, context, { offset, ifRange: partial.known?.etag ?? undefined });
      try {
        const { commit = /^[0-9a-f]{40}$/.test(source.revision) ? source.revision : null } = answer.stated;
        const expected = { ...expectation(entry, answer), commit };
        await prepare(partial, expected, answer);
        await requireFreeSpace(context.folder, expected.size - partial.length, context.freeBytes);
        const { etag = 'W/' } = answer.headers;
        const url = addressOf(source, endpoint);
        await partial.remember({ url, ...expected, etag: etag.startsWith('W/') ? null : etag });
        const { host, body } = answer;
        const progress = () => {
          emit({ type: 'progress', stage: 'download', done: partial.length, total: expected.size });
        };
        const due = throttle(timing.progressMs);
        try {
          for await (const chunk of body.chunks({ signal, stallMs: timing.stallMs })) {
            if (partial.length + chunk.length > expected.size) {
              const found = `${host} sent more than the ${count(expected.size)} bytes of the file`;
              throw new SourceError({ code: 'checksum', found, fix: 'run again' });
            }
            await partial.append(chunk, host);
            if (due()) progress();
          }
        } catch (error) {
          throw explainNetworkError(error, host);
        }
        if (partial.length < expected.size) {
          const found = `${host} sent ${bytes(partial.length)} of ${bytes(expected.size)}`;
          throw new SourceError({ code: 'network', found, fix: 'run again, it continues from there' });
        }
        progress();
        return expected;
      } finally {
        answer.body.destroy();
      }
    },
  };
}

/** Refuses an answer that is not the part asked for; drops what is here when the whole file comes instead. */
async function prepare(
  partial: PartialFile,
  { sha256 }: { sha256: string },
  { status, headers, host }: HubAnswer,
): Promise<void> {
  const offset = partial.length;
  if (offset > 0 && partial.known?.sha256 !== sha256) {
    const found = 'the file on the hub has changed since the earlier download';
    throw new SourceError({ code: 'conflict', found }, { waitMs: 0 });
  }
  if (status === 206 && contentRange(headers['content-range'])?.start !== offset) {
    throw new SourceError({ code: 'conflict', found: `${host} sent another part of the file than was asked for` });
  }
  // A 200 is the whole file: the server does not do ranges, or its file is another than the one we have a part of.
  if (status === 200 && offset > 0) await partial.restart();
}

/** The whole file's size and hash, from the entry and what the hub says. SourceError when they disagree or are unknown. */
function expectation(entry: Fetchable, { stated, status, headers, host }: HubAnswer): { size: number; sha256: string } {
  // The kept part survives: it is this network that is in the way.
  if (/^text\/html/i.test(headers['content-type'] ?? '')) throw webPage(host, { remedy: 'none' });
  const length = headers['content-length'];
  const whole = length === undefined ? undefined : Number(length);
  const sent = status === 206 ? contentRange(headers['content-range'])?.total : whole;
  const size = stated.size ?? sent ?? (entry.approximateSize ? undefined : entry.size);
  const sha256 = entry.sha256 ?? stated.sha256;
  const refuse = (found: string, more: { expected?: string; fix: string }) =>
    new SourceError({ code: 'checksum', found, ...more }, { remedy: 'none' });
  const fix = 'its owner may have replaced it: loam models add hub:owner/repository/file.gguf takes it as it is now';
  if (stated.sha256 !== undefined && stated.sha256 !== sha256) {
    throw refuse(`the file on the hub has the SHA-256 ${stated.sha256}`, { expected: sha256!, fix });
  }
  if (sha256 === undefined) {
    const byHand = 'download it by hand if you trust it, and use loam models add FILE';
    throw refuse(`${host} states no SHA-256 for this file, so the download could not be checked`, { fix: byHand });
  }
  if (size === undefined) throw refuse(`${host} does not say how large the file is`, { fix: 'run again' });
  if (!entry.approximateSize && size !== entry.size) {
    throw refuse(`${host} has ${count(size)} bytes under this name`, { expected: count(entry.size), fix });
  }
  if (sent !== undefined && sent !== size) {
    const found = `${host} would send a file of ${count(sent)} bytes`;
    throw new SourceError({ code: 'conflict', found, expected: count(size) });
  }
  return { size, sha256 };
}
