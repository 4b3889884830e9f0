import { duration } from '../../../util/format.js';
import type { Job, JobResult } from '../../logic/types.js';
import { size } from '../readable.js';
import { href } from '../router.js';
import { Icon } from './Icon.js';
import { NllBars } from './NllBars.js';

const measured = {
  heldout: 'examples held out',
  validation: 'examples it has not learnt from',
  train: 'the examples themselves, too few to keep any aside',
} as const;

export function ResultCard({ adapter, result }: { adapter: Job['adapter']; result: JobResult }) {
  return (
    <section class="sheet result" aria-label="Result">
      <h2>It has learnt</h2>
      <NllBars base={result.nll.base} adapted={result.nll.adapted} on={measured[result.measuredOn]} />
      <p class="quiet">
        {duration(result.seconds)}, at most {size(result.peakRssBytes)} of memory; the adapter takes{' '}
        {size(result.bytes)}.
      </p>
      <div class="row">
        <a class="button primary" href={adapter ? `${href('chat')}?version=${adapter.version}` : href('chat')}>
          <Icon name="chat" /> Talk to it
        </a>
        <a class="button" href={adapter ? href('compare', adapter.version) : href('compare')}>
          <Icon name="compare" /> Compare
        </a>
        {adapter && (
          <a class="button" href={href('adapters', adapter.id)}>
            <Icon name="adapters" /> Adapter
          </a>
        )}
      </div>
    </section>
  );
}
