import type { NamedArrayToWrite } from '../formats/dtypes.js';
import { ndArray } from '../formats/ndArray.js';
import type { LinearToSolve } from '../ridge/linearSolver.js';
import type { Residuals } from '../ridge/target.js';
import { activationArray } from './activationArray.js';
import { type ActivationKind, arrayName } from './openActivations.js';
import type { Recording } from './recording.js';

/**
 * The arrays of one linear, as `ActivationsFile` reads them.
 * @param recording of the student; without it only the teacher's array comes out
 * @param rows of each batch
 */
export function* linearArrays(
  { layer, module, inputs, outputs, weights }: LinearToSolve,
  teacher: Residuals,
  recording: Recording | undefined,
  rows: readonly number[],
  dtype: 'f32' | 'f16',
): Generator<NamedArrayToWrite, void, void> {
  const name = (kind: ActivationKind) => arrayName({ layer, module }, kind);
  const array = (kind: ActivationKind, source: Residuals, width: number) =>
    activationArray(name(kind), source, rows, width, dtype);
  if (recording) yield array('inputs', recording.inputs, inputs);
  yield array('teacher', teacher, outputs);
  if (!recording) return;
  yield array('student', recording.student, outputs);
  if (recording.target) yield array('target', recording.target, outputs);
  if (weights) yield { name: name('weights'), ...ndArray(weights) };
}
