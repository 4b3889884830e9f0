import { asChance } from '../../logic/runView.js';

/** Loss before and after, as two layers whose depth is the loss: less is better. */
export function NllBars({ base, adapted, on }: { base: number; adapted: number; on?: string }) {
  const most = Math.max(base, adapted, 1e-6);
  const drop = base > 0 ? Math.round((100 * (base - adapted)) / base) : 0;
  return (
    <figure class="nll">
      <figcaption>
        Loss on answers it had not seen{on ? ` (${on})` : ''}: less is better.{' '}
        <strong>{drop >= 0 ? `${drop} % less` : `${-drop} % more`}</strong> than the bare model.
      </figcaption>
      <dl>
        <div>
          <dt>Bare model</dt>
          <dd>
            <span class="nll-track">
              <span class="nll-bar base" style={{ width: `${(100 * base) / most}%` }} />
            </span>
            <span class="nll-value">{base.toFixed(3)}</span>
          </dd>
        </div>
        <div>
          <dt>With your adapter</dt>
          <dd>
            <span class="nll-track">
              <span class="nll-bar adapted" style={{ width: `${(100 * adapted) / most}%` }} />
            </span>
            <span class="nll-value">{adapted.toFixed(3)}</span>
          </dd>
        </div>
      </dl>
      <p class="quiet">
        It gives the right next word a chance of {asChance(adapted)}; the bare model {asChance(base)}.
      </p>
    </figure>
  );
}
