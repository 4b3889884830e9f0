/** What a report is made of: plain JSON, as a run's events and its result give it. */

/** What was measured at one step; what was not is absent. */
export interface StepMetric {
  step: number;
  /** Epochs done, with the fraction of the one under way. */
  epoch: number;
  /** Nats a response token. */
  loss?: number;
  validation?: number;
  tokensPerSecond?: number;
  learningRate?: number;
  /** Before clipping. */
  gradientNorm?: number;
  rssBytes?: number;
  /** Since the beginning of the run. */
  seconds?: number;
}

/** An answer of the model without and with the adapter; the user's own text. */
export interface ReportSample {
  prompt: string;
  before: string;
  after: string;
  expected?: string;
}

export interface ReportInput {
  title: string;
  /** ISO 8601. */
  createdAt: string;
  /** Of Loam. */
  version: string;
  model: string;
  method: string;
  recipe: Record<string, string | number | boolean>;
  /** Nats a response token. */
  nll: { base: number; adapted: number; teacher?: number };
  measuredOn: 'heldout' | 'validation' | 'train';
  seconds: number;
  peakRssBytes: number;
  energyJoules?: number;
  /** What was told before the run. */
  quote?: { seconds: number; memoryBytes: number; diskBytes: number };
  metrics: readonly StepMetric[];
  samples: readonly ReportSample[];
}
