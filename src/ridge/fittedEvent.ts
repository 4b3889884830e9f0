/** One linear is corrected. */
export interface FittedEvent {
  type: 'fitted';
  layer: number;
  module: string;
  rank: number;
  lambda: number;
  /** Share of the squared target that the correction explains in the training rows. */
  explained: number;
  /** Share of it that is left in the validation rows, where there are any. */
  error?: number;
}
