/** What passes between a program and its inference process: over a pipe, never over a disk. */
import type { Example } from '../data/types.js';
import type { ChatMessage } from '../model/chatTemplate.js';
import type { SentError } from '../util/sendError.js';
import type { ChatEvent } from './ChatSession.js';
import type { Sampling } from './sampling.js';

export interface InferenceRequest {
  /** Path of a base model that is a GGUF file. */
  model: string;
  contextLength?: number;
  /** Name of the adapter to wear; its file is asked for where it is not held. Undefined: the bare base. */
  adapter?: string;
  /** A conversation whose last message is the user's, or a text to go on with. */
  prompt: readonly ChatMessage[] | string;
  sampling: Sampling;
  stop?: readonly string[];
  forget?: boolean;
}

export interface PreviewRequest {
  model: string;
  examples: readonly Example[];
  /** Examples shown in full. */
  show: number;
  maxTokens: number;
}

export type ToInference =
  | { type: 'answer'; id: number; request: InferenceRequest }
  | { type: 'preview'; id: number; request: PreviewRequest }
  | { type: 'adapter'; id: number; bytes: Uint8Array }
  | { type: 'no-adapter'; id: number }
  | { type: 'stop'; id: number };

export type FromInference =
  | { type: 'need-adapter'; id: number }
  | { type: 'event'; id: number; event: ChatEvent }
  | { type: 'done'; id: number; result?: unknown }
  | { type: 'failed'; id: number; error: SentError };
