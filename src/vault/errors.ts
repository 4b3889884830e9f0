import { LoamError } from '../util/errors.js';

/** The vault has a passphrase, and none was given; or it has another one since it was opened. */
export class VaultLockedError extends LoamError {
  override readonly name = 'VaultLockedError';
  constructor(found = 'the vault is locked with a passphrase') {
    super({
      found,
      fix: 'type it on a terminal, or give it in LOAM_PASSPHRASE or with --passphrase-file',
    });
  }
}

export class WrongPassphraseError extends LoamError {
  override readonly name = 'WrongPassphraseError';
  constructor() {
    super({ found: 'this is not the passphrase of the vault', fix: 'try again; without it nobody can read the vault' });
  }
}

/** A file of the vault is not what was written. */
export class VaultDamagedError extends LoamError {
  override readonly name = 'VaultDamagedError';
}
