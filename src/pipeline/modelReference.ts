import type { Fields } from './fields.js';

/** The base model that a file of the pipeline speaks of. */
export interface ModelReference {
  /** What `--model` takes: a catalogue's name, or a path. */
  source: string;
  /** Of the model's file, hex. */
  sha256: string;
  architecture: string;
  /** As the model calls itself. */
  name: string;
}

export function readModelReference(fields: Fields): ModelReference {
  return {
    source: fields.text('source'),
    sha256: fields.text('sha256'),
    architecture: fields.text('architecture'),
    name: fields.text('name'),
  };
}
