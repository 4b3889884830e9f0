import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../util/writeFileAtomic.js';

const TOKEN_BYTES = 24;

/** Where a server keeps what the commands of the same user need to reach it; readable by the user only. */
export function serverFolder(home: string): string {
  return join(home, 'server');
}

/**
 * The token that the page and other programs show: made once, so that an installed page and a chat program's settings go on working
 * after a restart. It guards the server from other programs and pages, not from who can read the user's files.
 * @param renew makes a new one; what knew the old one is locked out
 */
export async function accessToken(home: string, renew = false): Promise<string> {
  const path = join(serverFolder(home), 'token');
  const known = renew ? '' : (await readFile(path, 'latin1').catch(() => '')).trim();
  // 24 bytes in base64url.
  if (/^[A-Za-z0-9_-]{32}$/.test(known)) return known;
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  await writeFileAtomic(path, `${token}\n`);
  return token;
}
