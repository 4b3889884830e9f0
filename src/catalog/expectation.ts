import { count } from '../util/format.js';
import { contentRange } from './contentRange.js';
import type { HubAnswer } from './openHubFile.js';
import { SourceError } from './SourceError.js';
import type { Fetchable } from './types.js';

/** The whole file's size and hash, from the entry and what the hub says. SourceError when they disagree or are unknown. */
export function expectation(
  entry: Fetchable,
  { stated, status, headers, host }: HubAnswer,
): { size: number; sha256: string } {
  const length = headers['content-length'];
  const whole = length === undefined ? undefined : Number(length);
  const sent = status === 206 ? contentRange(headers['content-range'])?.total : whole;
  const size = stated.size ?? sent ?? (entry.approximateSize ? undefined : entry.size);
  const sha256 = entry.sha256 ?? stated.sha256;
  const fix = 'its owner may have replaced it: loam models add hub:owner/repository/file.gguf takes it as it is now';
  if (stated.sha256 !== undefined && stated.sha256 !== sha256) {
    throw new SourceError({
      found: `the file on the hub has the SHA-256 ${stated.sha256}`,
      expected: sha256!,
      fix,
    });
  }
  if (sha256 === undefined) {
    throw new SourceError({
      found: `${host} states no SHA-256 for this file, so the download could not be checked`,
      fix: 'download it by hand if you trust it, and use loam models add FILE',
    });
  }
  if (size === undefined)
    throw new SourceError({ found: `${host} does not say how large the file is`, fix: 'run again' });
  if (!entry.approximateSize && size !== entry.size) {
    throw new SourceError({
      found: `${host} has ${count(size)} bytes under this name`,
      expected: count(entry.size),
      fix,
    });
  }
  if (sent !== undefined && sent !== size) {
    throw new SourceError(
      { found: `${host} would send a file of ${count(sent)} bytes`, expected: count(size) },
      { transient: true, startOver: true },
    );
  }
  return { size, sha256 };
}
