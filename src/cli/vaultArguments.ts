import type { NamedBytes } from '../data/types.js';
import type { MemoryFile } from '../ggml/memoryFile.js';
import { findDataset, isReference, requireVersion } from '../vault/reference.js';
import type { Vault } from '../vault/Vault.js';
import { openVault } from './openVault.js';
import type { Output } from './output.js';

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

  /** The vault; made where there is none, unless something in it is asked for. */
  async vault({ mustExist = false } = {}): Promise<Vault> {
    this.opened ??= await openVault(this.options, this.output, { mustExist });
    return this.opened;
  }

  /** A path as it is; of `vault:NAME` the content, decrypted in memory. */
  async data(argument: string): Promise<string | NamedBytes> {
    if (!isReference(argument)) return argument;
    const vault = await this.vault({ mustExist: true });
    const { id, name, excluded } = findDataset(vault, argument);
    return { name: `vault:${name}`, bytes: await vault.datasets.read(id), excluded };
  }

  /** A path as it is; of `vault:NAME[@N]` one that leads to memory, until this is closed. */
  async adapterPath(argument: string): Promise<string>;
  async adapterPath(argument: string | undefined): Promise<string | undefined>;
  async adapterPath(argument: string | undefined): Promise<string | undefined> {
    if (argument === undefined || !isReference(argument)) return argument;
    const vault = await this.vault({ mustExist: true });
    const file = await vault.adapters.openForInference(requireVersion(vault, argument).version.id);
    this.files.push(file);
    return file.path;
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
