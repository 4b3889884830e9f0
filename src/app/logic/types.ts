import type { TuneEvent, TuneResult } from '../../train/events.js';

/** What the server's API answers, as far as the page reads it. */

export interface Status {
  version: string;
  vault: 'absent' | 'open' | 'locked';
  protection?: 'key' | 'passphrase';
  model: { name: string; present: boolean };
  job?: { id: string; state: JobState } | null;
  device?: {
    cores?: number;
    memoryBytes?: number;
    availableMemoryBytes?: number;
    freeDiskBytes?: number;
    battery?: { percent: number; charging: boolean };
  };
}

export interface ModelEntry {
  name: string;
  title: string;
  isDefault: boolean;
  installed: boolean;
  /** Loam knows its architecture. */
  supported: boolean;
  /** It is in the catalogue. */
  fetchable: boolean;
  size: number;
  sha256: string | null;
  /** Why it cannot be used, where its file is damaged or gone. */
  problem: string | null;
  licence?: { name: string };
  download?: Download;
}

export interface Download {
  name: string;
  state: 'running' | 'done' | 'failed' | 'stopped';
  done: number;
  total: number;
  message?: string;
}

export interface DatasetInfo {
  id: string;
  name: string;
  createdAt: string;
  /** Usable ones, the excluded among them. */
  examples: number;
  /** Records found, usable or not. */
  records: number;
  excluded: number;
  bytes: number;
  sha256: string;
  findings?: { total: number };
}

export interface Finding {
  id: string;
  kind: string;
  /** For people: "IBAN". */
  label: string;
  certainty?: 'certain' | 'likely' | 'possible';
  start: number;
  end: number;
  preview: string;
  /** Where the example is shown as instruction, input and output: which of them. */
  field?: string;
  /** Where it is shown as messages: which of them. */
  message?: number;
}

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export interface ExampleRow {
  index: number;
  line?: number;
  instruction?: string;
  input?: string;
  output?: string;
  messages?: Message[];
  excluded: boolean;
  problems: { severity: 'error' | 'warning'; reason: string }[];
  findings: Finding[];
}

export type ExampleFilter = 'all' | 'problems' | 'findings' | 'excluded';

export interface ExamplePage {
  total: number;
  /** Of the content that the numbers refer to. */
  sha256: string;
  examples: ExampleRow[];
  problems?: { line: number; severity: 'error' | 'warning'; reason: string }[];
  counts?: Record<ExampleFilter, number>;
}

export interface Quote {
  seconds: number;
  memoryBytes: number;
  diskBytes: number;
  energyJoules?: number;
  cheaper?: (Quote & { layers: number })[];
  /** What the run would warn of. */
  warnings?: string[];
}

export type JobState = 'queued' | 'running' | 'paused' | 'interrupted' | 'done' | 'failed' | 'cancelled';

export interface Job {
  id: string;
  name: string;
  state: JobState;
  message?: string;
  dataset?: string;
  datasetName?: string;
  model: string;
  options?: Record<string, unknown>;
  createdAt: string;
  startedAt?: string;
  finishedAt?: string;
  etaSeconds?: number;
  curve?: { train: [number, number][]; validation: [number, number][]; steps?: number };
  result?: JobResult;
  adapter?: { id: string; version: string };
}

/** The file of a tune in the vault is the vault's own affair. */
export type JobResult = Omit<TuneResult, 'type' | 'adapter'>;

export type JobEvent =
  | TuneEvent
  | { type: 'result'; result: JobResult; adapter?: { id: string; version: string } }
  | { type: 'state'; state: JobState; message?: string }
  | { type: 'eta'; seconds: number }
  /** The finished adapter is asked for the private details of its data. */
  | { type: 'probing'; done: number; total: number };

export interface AdapterVersion {
  id: string;
  number: number;
  createdAt: string;
  note?: string;
  bytes: number;
  datasets: { id?: string; name?: string; deleted?: boolean }[];
  recipe?: Record<string, unknown>;
  metrics?: { nll?: { base: number; adapted: number }; tokens?: number; seconds?: number; method?: string };
  parent?: string;
  imported?: string;
  memorised?: Memorised | null;
}

export type Verdict = 'reproduced' | 'likely' | 'not found' | 'not probed';

/** What an adapter was found to know by heart (src/privacy). */
export interface Memorised {
  findings: number;
  probed: number;
  verdicts: Record<Verdict, number>;
  results: { id: string; label: string; preview: string; verdict: Verdict; baseReproduces?: boolean }[];
}

export interface Adapter {
  id: string;
  name: string;
  model: { name: string; sha256: string };
  /** Id of the version in use; null is the bare base model. */
  active: string | null;
  /** Newest first. */
  versions: AdapterVersion[];
}

export interface Conversation {
  id: string;
  title: string;
  changedAt: string;
}

export interface Storage {
  vault: { bytes: number; byKind: Record<string, number> };
  models: number;
  runs: number;
  problems: string[];
}
