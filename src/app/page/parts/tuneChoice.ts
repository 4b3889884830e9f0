import { readDraft, writeDraft } from '../drafts.js';

/** What was chosen on Tune; empty where it is left to Loam. */
export interface TuneChoice {
  dataset: string;
  /** Ids of the data sets that are learnt as well. */
  also?: string[];
  model: string;
  /** Id of the adapter that gets a version. */
  adapter: string;
  goOn: boolean;
  name: string;
  typed: Record<string, string | boolean>;
}

export const unchosen: TuneChoice = { dataset: '', model: '', adapter: '', goOn: false, name: '', typed: {} };

/** A data set was added: Tune opens with it. */
export function learnNext(dataset: string): void {
  const choice = readDraft<TuneChoice>('tune');
  if (choice) writeDraft('tune', { ...choice, dataset, also: choice.also?.filter((id) => id !== dataset) });
}
