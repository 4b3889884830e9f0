import { stateNames } from '../../logic/runView.js';
import type { Job } from '../../logic/types.js';
import { when } from '../readable.js';
import { href } from '../router.js';
import { Icon } from './Icon.js';

/** The queue and what was tuned before, newest first. */
export function RunList({ jobs }: { jobs: Job[] }) {
  if (jobs.length === 0) return null;
  return (
    <section>
      <h2>Runs</h2>
      <ul class="cards">
        {jobs.map((job) => (
          <li key={job.id}>
            <a class="card" href={href('jobs', job.id)}>
              <span class="card-title">{job.name}</span>
              <span class="quiet">
                {when(job.createdAt)}
                {job.result && ` · loss ${job.result.nll.base.toFixed(2)} → ${job.result.nll.adapted.toFixed(2)}`}
              </span>
              <span class="chips">
                <span class={`chip state-${job.state}`}>{stateNames[job.state]}</span>
              </span>
              <Icon name="next" />
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
