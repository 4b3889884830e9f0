import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, systemCode } from '../base/errors.js';
import { explainWriteError } from '../base/io.js';
import { type Taken, takeLock } from '../base/lock.js';
import { Vault } from '../store/Vault.js';
import { serverFolder } from './http/apiKeys.js';
import type { AnyRoute } from './http/route.js';
import type { Services } from './Services.js';

/**
 * A server on a folder that it cannot write (a read-only disk, another user's folder): it answers and shows what is there, runs no jobs,
 * and refuses every change by one sentence. It holds no lock either, so it stays like that until it is started again.
 */

/** What a system says of a folder that takes nothing new; ENOENT is what making folders on a read-only disk may give. */
const refusals = new Set(['EROFS', 'EACCES', 'EPERM', 'ENOENT']);

/** Whether it is the folder that refuses, rather than a disk that is full or fails. */
export function cannotBeWritten(error: unknown): error is LoamError {
  return error instanceof LoamError && error.code === 'unwritable' && refusals.has(systemCode(error.cause) ?? '');
}

/** Serving a folder: by its lock, or, if it cannot be written, without. */
export interface Hold extends Taken {
  /** What every change is refused with; undefined if the folder can be written. */
  readOnly: LoamError | undefined;
}

/** @throws LoamError: busy, if another process serves it; and whatever else is wrong with a folder that is not there */
export async function holdHome(home: string): Promise<Hold> {
  const folder = serverFolder(home);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw explainWriteError(error, folder);
    });
    // On a full disk, too, one can see what to delete.
    const path = join(folder, 'server.lock');
    const lock = await Vault.withRoom(home, () => takeLock(path, 'is already serving this folder'));
    return { ...lock, readOnly: undefined };
  } catch (error) {
    if (!cannotBeWritten(error) || !existsSync(home)) throw error;
    const readOnly = new LoamError(
      {
        code: 'unwritable',
        found: 'this server could not write to its folder when it was started, and only shows what is there',
        where: home,
        fix: 'make the folder writable and start the server again',
      },
      { cause: error },
    );
    return { async release() {}, lost: new AbortController().signal, readOnly };
  }
}

/** The routes of which those that change something refuse it. */
export function refusingChanges(routes: readonly AnyRoute<Services>[], fault: LoamError): AnyRoute<Services>[] {
  return routes.map((route) => {
    const changes = route.method !== 'GET' && route.path.startsWith('/api/') && !route.asks;
    if (!changes) return route;
    return {
      ...route,
      async handler() {
        throw fault;
      },
    };
  });
}
