import { dirname } from 'node:path';
import { freeBytes, requireFreeSpace } from '../catalog/requireFreeSpace.js';
import type { PipelineEvent } from './events.js';
import type { ActivationsHeader } from './header.js';

/** Tells how many bytes of activations there will be, and stops where the disk does not have them. */
export async function tellSize(
  out: string,
  header: ActivationsHeader,
  emit: (event: PipelineEvent) => void,
): Promise<void> {
  const { linears, embedding, dtype, teacherOnly } = header;
  const rows = header.rows.train + header.rows.validation;
  const widths = linears.reduce(
    (sum, { inputs, normed }) => sum + embedding + (teacherOnly ? 0 : inputs + (normed ? 2 : 1) * embedding),
    0,
  );
  const bytes = rows * widths * (dtype === 'f16' ? 2 : 4);
  emit({ type: 'size', rows, linears: linears.length, bytes });
  await requireFreeSpace(dirname(out), bytes, freeBytes, {
    name: 'this file of activations',
    fix: 'free some space, or use --teacher-only, --f16 or fewer --layers',
  });
}
