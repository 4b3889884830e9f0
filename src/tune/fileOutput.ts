import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { type AdapterToWrite, writeAdapter } from '../adapter/writeAdapter.js';
import { explainWriteError } from '../util/writeFileAtomic.js';
import type { AdapterOutput } from './adapterOutput.js';

/** An adapter file, which appears under its name when it is kept. */
export class FileOutput implements AdapterOutput {
  readonly name: string;

  constructor(readonly label: string) {
    this.name = basename(label, extname(label));
  }

  private get candidate(): string {
    return join(dirname(this.label), `.${basename(this.label)}.${process.pid}.candidate`);
  }

  async trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
    try {
      await writeAdapter(this.candidate, adapter);
      return await use(this.candidate);
    } finally {
      // Whatever went wrong above is what the user should hear of.
      await rm(this.candidate, { force: true }).catch(() => {});
    }
  }

  async keep(adapter: AdapterToWrite): Promise<{ label: string; bytes: number }> {
    await this.trial(adapter, async (path) => {
      await rename(path, this.label).catch((error: unknown) => {
        throw explainWriteError(error, this.label);
      });
    });
    return { label: this.label, bytes: (await stat(this.label)).size };
  }
}
