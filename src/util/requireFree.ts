import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError } from './errors.js';

/** Refuses an output that is one of the inputs, by whatever path. */
export async function requireFree(out: string, inputs: readonly (string | undefined)[]): Promise<void> {
  const identity = async (path: string) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found && `${found.dev} ${found.ino}`;
  };
  const own = await identity(out);
  for (const input of inputs) {
    if (input === undefined) continue;
    if (resolve(input) === out || (own !== undefined && own === (await identity(input)))) {
      throw new UsageError({ found: '--out names a file that is read', where: out, fix: 'choose another path' });
    }
  }
}
