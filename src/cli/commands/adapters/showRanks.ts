import type { CombinedLora } from '../../../adapter/combineLoras.js';
import type { Output } from '../../output.js';

/** Less than this is the rounding of f32. */
const rounding = 1e-13;

/** Says what an adapter whose ranks were cut has become, and what that cost. */
export function showRanks({ lost, worst, ranks, lora }: CombinedLora, out: string, output: Output): void {
  const percent = (share: number) => (share < rounding ? '0 %' : `${(100 * share).toPrecision(2)} %`);
  const rank = ranks[0] === ranks[1] ? `rank ${ranks[0]}` : `ranks ${ranks[0]} to ${ranks[1]}`;
  output.line(`${out}: ${lora.modules.length} modules of ${rank}`);
  output.line(`lost: ${percent(lost)} of the squared norm of the correction`);
  if (lost >= rounding) output.line(`  most in layer ${worst.layer}, ${worst.module}: ${percent(worst.lost)}`);
  output.event({ type: 'result', adapter: out, lost, worst, ranks: { least: ranks[0], most: ranks[1] } });
}
