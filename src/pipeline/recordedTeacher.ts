import type { Followed } from '../ridge/followed.js';
import type { ActivationsFile } from './openActivations.js';

/** What a teacher left in a file, for a student to follow as if it walked beside it. The file stays open. */
export function recordedTeacher(file: ActivationsFile): Followed {
  let at = -1;
  const { train = Number.NaN, validation = Number.NaN, heldout = Number.NaN } = file.header.nll.teacher;
  return {
    tokens: 0,
    async advance(layer) {
      at = layer.index;
    },
    middle: { read: (batch) => file.rows({ layer: at, module: 'attn_output' }, 'teacher').read(batch) },
    out: { read: (batch) => file.rows({ layer: at, module: 'ffn_down' }, 'teacher').read(batch) },
    nll: async () => ({ train, validation, heldout }),
    [Symbol.asyncDispose]: async () => {},
  };
}
