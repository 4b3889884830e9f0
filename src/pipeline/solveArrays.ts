import type { Workspace } from '../ggml/workspace.js';
import type { Factors } from '../model/lora.js';
import type { LinearSolver } from '../ridge/linearSolver.js';
import { throwIfStopped } from '../util/errors.js';
import type { EmbeddedLinear } from './header.js';
import type { ActivationsFile } from './openActivations.js';

/**
 * Solves one linear from the arrays of a file alone: inputs X, targets Y = teacher - student. Rows go to the statistics in the batches
 * in which they were walked, so the sums are those of `tune`, bit for bit.
 */
export async function solveArrays(
  workspace: Workspace,
  file: ActivationsFile,
  linear: EmbeddedLinear,
  solver: LinearSolver,
  onRows: (rows: number) => void,
  signal: AbortSignal,
): Promise<Factors> {
  const { embedding } = file.header;
  const read = {
    inputs: file.rows(linear, 'inputs'),
    teacher: file.rows(linear, 'teacher'),
    student: file.rows(linear, 'student'),
  };
  return await solver.solve({ ...linear, outputs: embedding }, async (sinks) => {
    for (const [batch, { rows, part }] of file.batches.entries()) {
      throwIfStopped(signal);
      if (rows === 0 || part === 'heldout') continue;
      const sink = sinks[part];
      const g = workspace.begin();
      const x = g.input('f32', [linear.inputs, rows], await read.inputs.read(batch));
      const teacher = g.input('f32', [embedding, rows], await read.teacher.read(batch));
      const student = g.input('f32', [embedding, rows], await read.student.read(batch));
      sink.add(g, x, g.sub(teacher, student));
      await g.compute(signal);
      await sink.computed();
      onRows(rows);
    }
  });
}
