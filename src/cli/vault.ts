import { LoamError } from '../base/errors.js';
import { flag, type Schema } from '../base/options.js';
import { loamHome } from '../base/process.js';
import type { MemoryFile } from '../engine/memory.js';
import type { NamedBytes } from '../examples/example.js';
import { vaultFolder } from '../store/files.js';
import { findDataset, isReference, requireVersion } from '../store/references.js';
import { Vault } from '../store/Vault.js';
import { type Command, type Invocation, jsonOption, vaultOptions } from './command.js';
import type { Output } from './output.js';
import { readPassphraseFile, readSecret } from './terminal.js';

/** The vault as commands need it: unlocked, and `vault:NAME` where they take a file. */

/** Attempts at the terminal. scrypt alone makes guessing slow. */
const ATTEMPTS = 3;

/**
 * Opens the vault, with the passphrase from --passphrase-file, LOAM_PASSPHRASE or the terminal if there is one. If there is no
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
      code: 'not-found',
      found: 'there is no vault yet',
      where: vaultFolder(home),
      fix: 'loam data add FILE or loam tune DATA --keep NAME makes one',
    });
  }
  const vault = state === 'passphrase' ? await unlock(home, options.passphraseFile, output) : await Vault.open(home);
  for (const problem of [...vault.notes, ...vault.problems]) output.line(`note: ${problem}`);
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
      if (!(error instanceof LoamError) || error.code !== 'wrong-passphrase' || attempt === ATTEMPTS) throw error;
      output.line('this is not the passphrase');
    }
  }
}

/**
 * Arguments that name a file or something in the vault. The vault is opened at the first that does; what was taken from it is gone
 * when this is closed.
 */
export class VaultArguments implements AsyncDisposable {
  private opened: Vault | undefined;
  private readonly files: MemoryFile[] = [];

  constructor(
    private readonly options: { passphraseFile?: string },
    private readonly output: Output,
  ) {}

  /** The vault; made if there is none, unless something in it is asked for. */
  async vault({ mustExist = false } = {}): Promise<Vault> {
    this.opened ??= await openVault(this.options, this.output, { mustExist });
    return this.opened;
  }

  /** A path as it is; of `vault:NAME` the content, decrypted in memory. */
  async data(argument: string): Promise<string | NamedBytes> {
    if (!isReference(argument)) return argument;
    const vault = await this.vault({ mustExist: true });
    return await vault.datasets.source(findDataset(vault, argument).id);
  }

  /** A path as it is; of `vault:NAME[@N]` one that leads to memory, until this is closed, and the id of the version. */
  async adapter(argument: string | undefined): Promise<{ path?: string; version?: string }> {
    if (argument === undefined || !isReference(argument)) return { path: argument };
    const vault = await this.vault({ mustExist: true });
    const { id } = requireVersion(vault, argument).version;
    const file = await vault.adapters.openForInference(id);
    this.files.push(file);
    return { path: file.path, version: id };
  }

  /** Whether anything was taken from the vault. */
  get used(): boolean {
    return this.opened !== undefined;
  }

  async close(): Promise<void> {
    for (const file of this.files.splice(0)) await file[Symbol.asyncDispose]();
    await this.opened?.[Symbol.asyncDispose]();
    this.opened = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const common = { ...vaultOptions, ...jsonOption } as const;

/** A command on what lies in the vault, which has to be there. */
export function vaultVerb<S extends Schema = Record<never, never>>({
  options,
  run,
  ...rest
}: Omit<Command<S>, 'options' | 'run'> & {
  options?: S;
  run(vault: Vault, call: Invocation<S & typeof common>): Promise<void>;
}): Command {
  return {
    ...rest,
    options: { ...options, ...common },
    async run(call) {
      const typed = call as unknown as Invocation<S & typeof common>;
      await using vault = await openVault(call.options as { passphraseFile?: string }, call.output, {
        mustExist: true,
      });
      await run(vault, typed);
    },
  };
}

export const yesOption = {
  yes: flag('Do not ask for confirmation.'),
} as const satisfies Schema;
