import type { DatasetEdit, FindingKind } from '../../../serve/contract/datasets.js';
import { rich, t } from '../../logic/language.js';
import { useDraft } from '../drafts.js';
import { Choice, TextField } from './controls.js';
import { Confirm } from './dialogs.js';

/** What becomes of answers in which a private detail was redacted: a placeholder is taught only if the person wants it. */

interface RedactionProps {
  title: string;
  /** Of the data set; what was typed is kept under it. */
  id: string;
  /** Kinds of what was found in answers. */
  kinds: readonly FindingKind[];
  /** Records that could not be used go, too. */
  removes?: boolean;
  onClose: () => void;
  onRedact: (answers: DatasetEdit['answers']) => Promise<void>;
}

const undecided = { how: '' as '' | 'words' | 'leave-out' | 'keep', words: {} as Partial<Record<FindingKind, string>> };

export function Redaction({ title, id, kinds, removes, onClose, onRedact }: RedactionProps) {
  const [{ how, words }, decide] = useDraft(`redact/${id}`, undecided);
  const own = Object.fromEntries(kinds.map((kind) => [kind, words[kind]?.trim() ?? '']));
  const isSaid = how === 'words' ? kinds.every((kind) => own[kind] !== '') : how !== '';
  return (
    <Confirm
      title={title}
      verb={t('Redact')}
      disabled={kinds.length > 0 && !isSaid}
      onClose={onClose}
      onConfirm={async () => {
        await onRedact(kinds.length === 0 ? undefined : how === 'words' ? own : (how as 'leave-out' | 'keep'));
        decide(undecided);
      }}
    >
      <p>
        {rich(
          'Each address, number, key and name that was found is replaced by a placeholder such as {code}; the original text is destroyed. Findings are guesses: review them first if you want to keep some.',
          { code: <code>[phone 1]</code> },
        )}
        {removes && ` ${t('Records that could not be used were not searched: they are removed.')}`}
      </p>
      {kinds.length > 0 && (
        <>
          <p>{t('Some of it stands in answers. The model would learn to say the placeholder.')}</p>
          <Choice
            label={t('In answers')}
            showLabel
            value={how}
            onChange={(next) => decide({ how: next, words })}
            options={[
              { value: 'words', label: t('My words') },
              { value: 'leave-out', label: t('Leave out') },
              { value: 'keep', label: t('Keep it') },
            ]}
          />
          {how === 'words' &&
            kinds.map((kind) => (
              <TextField
                key={kind}
                label={t('In place of [{kind}]', { kind })}
                value={words[kind] ?? ''}
                maxLength={200}
                onInput={(text) => decide({ how, words: { ...words, [kind]: text } })}
              />
            ))}
          {how === 'leave-out' && <p class="quiet">{t('Examples with such answers are not learnt.')}</p>}
          {how === 'keep' && <p class="quiet">{t('The model may answer with the placeholder.')}</p>}
        </>
      )}
    </Confirm>
  );
}
