import { loadDataset } from '../data/loadDataset.js';
import type { Dataset, Message } from '../data/types.js';
import { findPersonal } from '../privacy/findPersonal.js';
import type { Finding } from '../privacy/types.js';
import type { DatasetInfo } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';

/** Data sets kept parsed: a page that is scrolled asks for the same one again and again. */
const KEPT = 2;

/** The examples of data sets, the excluded ones among them, as the page shows and edits them. */
export class DatasetViews {
  private readonly parsed = new Map<string, Promise<Dataset>>();
  private readonly found = new WeakMap<Dataset, Promise<Finding[]>>();

  /** All usable examples and what was found wrong with the others. */
  async open(vault: Vault, info: DatasetInfo): Promise<Dataset> {
    const key = `${info.id} ${info.sha256}`;
    let found = this.parsed.get(key);
    if (!found) {
      found = vault.datasets.read(info.id).then((bytes) => loadDataset({ name: info.name, bytes }));
      this.parsed.set(key, found);
      found.catch(() => this.parsed.delete(key));
      for (const old of [...this.parsed.keys()].slice(0, -KEPT)) this.parsed.delete(old);
    }
    return await found;
  }

  /** Private details in its examples. Searching takes about half a second a megabyte; it is done once while a data set is looked at. */
  async findings(vault: Vault, info: DatasetInfo): Promise<Finding[]> {
    const dataset = await this.open(vault, info);
    let found = this.found.get(dataset);
    if (!found) {
      found = findPersonal(dataset.examples);
      this.found.set(dataset, found);
    }
    return await found;
  }

  clear(): void {
    this.parsed.clear();
  }
}

/** A question with one answer as its three fields; anything longer as it is. */
export function toFields(
  messages: readonly Message[],
): { instruction: string; input: string; output: string } | { messages: Message[] } {
  const [first, second] = messages;
  if (messages.length === 2 && first!.role === 'user' && second!.role === 'assistant' && second!.train !== false) {
    return { instruction: first!.content, input: '', output: second!.content };
  }
  return { messages: [...messages] };
}

/** A data set as Loam writes it: a JSON list of what `toFields` gives. */
export function encodeDataset(examples: readonly (readonly Message[] | Record<string, unknown>)[]): Uint8Array {
  const lines = examples.map((example) =>
    JSON.stringify(Array.isArray(example) ? toFields(example as Message[]) : example),
  );
  return Buffer.from(`[\n${lines.join(',\n')}\n]\n`);
}
