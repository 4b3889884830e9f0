import { readFile, stat } from 'node:fs/promises';
import { LoamError, UsageError } from '../util/errors.js';
import { loamHome } from '../util/home.js';
import { WrongPassphraseError } from '../vault/errors.js';
import { Vault } from '../vault/Vault.js';
import type { Output } from './output.js';
import { readSecret } from './readSecret.js';

/** A file with a passphrase is a line; more is another file, given by mistake. */
const MAX_FILE_BYTES = 4096;
/** Attempts at the terminal. scrypt alone makes guessing slow. */
const ATTEMPTS = 3;

/** The first line of a file with a passphrase. Throws LoamError. */
export async function readPassphraseFile(path: string): Promise<string> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES)
      throw new LoamError({ found: `a file of ${size} bytes`, expected: 'one line with the passphrase', where: path });
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof LoamError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new LoamError({
      found: code === 'ENOENT' ? 'there is no file here' : `the file cannot be read (${code})`,
      where: path,
    });
  }
  const [line = ''] = text.split(/\r?\n/);
  if (line === '') throw new UsageError({ found: 'an empty first line', expected: 'the passphrase', where: path });
  return line;
}

/**
 * Opens the vault, with the passphrase from --passphrase-file, LOAM_PASSPHRASE or the terminal where it has one. Where there is no
 * vault yet it is made, unless `mustExist`. Tells of damage.
 */
export async function openVault(
  options: { passphraseFile?: string },
  output: Output,
  { mustExist = false } = {},
): Promise<Vault> {
  const home = loamHome();
  const state = Vault.state(home);
  if (state === 'absent' && mustExist) {
    throw new LoamError({
      found: 'there is no vault yet',
      where: loamHome('vault'),
      fix: 'loam data add FILE and loam tune DATA --keep NAME make one',
    });
  }
  const vault = state === 'passphrase' ? await unlock(home, options.passphraseFile, output) : await Vault.open(home);
  for (const problem of vault.problems) output.line(`note: ${problem}`);
  return vault;
}

async function unlock(home: string, file: string | undefined, output: Output): Promise<Vault> {
  const given = file === undefined ? process.env.LOAM_PASSPHRASE : await readPassphraseFile(file);
  if (given !== undefined) return await Vault.open(home, { passphrase: given });
  if (!process.stdin.isTTY || !process.stderr.isTTY) return await Vault.open(home);
  for (let attempt = 1; ; attempt++) {
    try {
      return await Vault.open(home, { passphrase: await readSecret('passphrase of the vault: ') });
    } catch (error) {
      if (!(error instanceof WrongPassphraseError) || attempt === ATTEMPTS) throw error;
      output.line('this is not the passphrase');
    }
  }
}
