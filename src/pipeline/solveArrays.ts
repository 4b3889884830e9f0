import type { Workspace } from '../ggml/workspace.js';
import type { Factors } from '../model/lora.js';
import type { LinearSolver } from '../ridge/linearSolver.js';
import { throwIfStopped } from '../util/errors.js';
import type { EmbeddedLinear } from './header.js';
import type { ActivationsFile } from './openActivations.js';

/**
 * Solves one linear from the arrays of a file alone: inputs X, targets Y = teacher - student (or what became of that on its way
 * back through a norm). Rows go to the statistics in the batches
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
    target: file.rows(linear, 'target'),
  };
  const weights = await file.weights(linear);
  return await solver.solve({ ...linear, outputs: embedding, weights }, async (sinks) => {
    for (const [batch, { rows, part }] of file.batches.entries()) {
      throwIfStopped(signal);
      if (rows === 0 || part === 'heldout') continue;
      const sink = sinks[part];
      const g = workspace.begin();
      const x = g.input('f32', [linear.inputs, rows], await read.inputs.read(batch));
      const of = async (kind: keyof typeof read) => g.input('f32', [embedding, rows], await read[kind].read(batch));
      sink.add(g, x, linear.normed ? await of('target') : g.sub(await of('teacher'), await of('student')));
      await g.compute(signal);
      await sink.computed();
      onRows(rows);
    }
  });
}
