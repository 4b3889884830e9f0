import { type AdapterToWrite, encodeAdapter } from '../adapter/writeAdapter.js';
import { memoryFile } from '../ggml/memoryFile.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import type { AdapterOutput } from './adapterOutput.js';
import type { Keeper } from './privateRun.js';

/** An adapter that is given to a keeper, and is a file only if `file` names one. */
export class KeptOutput implements AdapterOutput {
  constructor(
    private readonly keeper: Keeper,
    private readonly file: string | undefined,
  ) {}

  get name(): string {
    return this.keeper.name;
  }
  get label(): string {
    return this.keeper.name;
  }

  async trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
    await using file = await memoryFile(await encodeAdapter(this.label, adapter));
    return await use(file.path);
  }

  async keep(adapter: AdapterToWrite, measured: boolean): Promise<{ label: string; bytes: number }> {
    const bytes = await encodeAdapter(this.label, adapter);
    const label = await this.keeper.keep(bytes, adapter, measured);
    if (this.file !== undefined) await writeFileAtomic(this.file, bytes);
    return { label, bytes: bytes.length };
  }
}
