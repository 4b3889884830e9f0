/** What a conversion tells while it runs: plain JSON. */
export type ConvertEvent =
  | {
      readonly type: 'model';
      readonly architecture: string;
      readonly layers: number;
      readonly weights: number;
      readonly vocabulary: number;
      readonly from: string;
      readonly to: string;
    }
  | { readonly type: 'note'; readonly text: string }
  /** Bytes written of the file; of a file between, where the result is quantised by libllama afterwards. */
  | { readonly type: 'progress'; readonly stage: 'convert'; readonly done: number; readonly total: number }
  /** libllama quantises: it cannot say how far it is. */
  | { readonly type: 'quantise'; readonly to: string };

/** What came out. */
export interface Converted {
  readonly path: string;
  readonly bytes: number;
  readonly architecture: string;
  readonly weights: number;
  /** Type of the matrices. */
  readonly matrices: string;
}
