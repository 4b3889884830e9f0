import type { AdapterVersion, Memorised } from '../../logic/types.js';
import { plural } from '../readable.js';
import { Icon } from './Icon.js';

/** What the adapter was found to know by heart, in a sentence and, where there is something, as a list. */
export function MemorisedNote({ version }: { version: AdapterVersion }) {
  const report = version.memorised;
  if (!report) return <p class="quiet">Not yet tried for what it knows by heart.</p>;
  const bad = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  return (
    <div class={bad.length > 0 ? 'note bad' : 'note good'}>
      <Icon name={bad.length > 0 ? 'warn' : 'shield'} />
      <div>
        <p>{sentenceOf(report)}</p>
        {bad.length > 0 && (
          <ul class="remarks">
            {bad.slice(0, 8).map(({ id, label, preview, verdict }) => (
              <li key={id}>
                <strong>{label}</strong> {preview}{' '}
                <span class="quiet">
                  {verdict === 'reproduced' ? 'written word for word' : 'far likelier than chance'}
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}

export function sentenceOf({ findings, probed, verdicts }: Memorised): string {
  if (findings === 0) return 'No private details were found in what it learnt from, so there was nothing to try.';
  if (verdicts.reproduced > 0) {
    return `It writes ${plural(verdicts.reproduced, 'private detail')} of its examples word for word. Whoever has the adapter can get at them.`;
  }
  if (verdicts.likely > 0) {
    return `It did not write a private detail out, but ${plural(verdicts.likely, 'of them is', 'of them are')} far likelier to it than chance.`;
  }
  return `It was tried with ${plural(probed, 'private detail')} of its examples and reproduced none. That is no proof that it never will.`;
}
