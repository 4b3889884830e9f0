import { useState } from 'preact/hooks';
import { leftOf, type Tried, triedOf } from '../../../base/tried.js';
import type { Adapter, AdapterVersion, Memorised } from '../../../serve/contract/adapters.js';
import type { ApiFault } from '../../../serve/contract/errors.js';
import { isFinal } from '../../../serve/jobs/Job.js';
import { plural, rich, t } from '../../logic/language.js';
import { capital, detailName, when } from '../../logic/words.js';
import { ApiError, call, download } from '../api.js';
import { canShare, shareFile } from '../around.js';
import { tellChanged, useAction, useList, useServer } from '../server.js';
import { Check } from './controls.js';
import { Confirm } from './dialogs.js';
import { Bar, Fault, Icon, type IconName } from './layout.js';

/** What a version gives away of its examples, as far as that was tried, and its way out of the vault. */

/** Four different things in words, colour and sign. */
const looks = (): Readonly<Record<Tried, { title: string; kind: string; icon: IconName }>> => ({
  untried: { title: t('Not tested for private details'), kind: 'warn', icon: 'warn' },
  partly: { title: t('Partly tested for private details'), kind: 'warn', icon: 'warn' },
  clean: { title: t('Tested: no private detail found'), kind: 'good', icon: 'shield' },
  found: { title: t('It gives private details away'), kind: 'bad', icon: 'warn' },
});

const short = (): Readonly<Record<Tried, string>> => ({
  untried: t('privacy: not tested'),
  partly: t('privacy: partly tested'),
  clean: t('privacy: nothing found'),
  found: t('gives private details away'),
});

/** In short, for a list. */
export function TriedChip({ report }: { report: Memorised | undefined }) {
  const tried = triedOf(report);
  return <span class={`chip ${looks()[tried].kind}`}>{short()[tried]}</span>;
}

export function MemorisedNote({ version }: { version: AdapterVersion }) {
  const { memorised: report } = version;
  const { title, kind, icon } = looks()[triedOf(report)];
  const bad = report?.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely') ?? [];
  return (
    <div class={`note ${kind}`}>
      <Icon name={icon} />
      <div>
        <p>
          <strong>{title}.</strong> {sentenceOf(report, version)}
        </p>
        {bad.length > 0 && (
          <ul class="remarks">
            {bad.slice(0, 8).map(({ id, kind, label, preview, verdict }) => (
              <li key={id}>
                <strong>{capital(detailName({ kind, label }))}</strong> {preview}{' '}
                <span class="quiet">
                  {verdict === 'reproduced' ? t('reproduced word for word') : t('far more likely than chance')}
                </span>
              </li>
            ))}
          </ul>
        )}
        <Testing version={version} />
      </div>
    </div>
  );
}

function sentenceOf(report: Memorised | undefined, { imported }: AdapterVersion): string {
  if (!report) {
    return imported === undefined
      ? t('Nobody knows yet whether it repeats what stands in its examples.')
      : t('It came from a file: what it has learnt from is not here, so nobody knows what it repeats.');
  }
  const { findings, probed, verdicts, at } = report;
  if (findings === 0)
    return t('No private details were found in what it learnt from, so there was nothing to ask for.');
  const left = leftOf(report);
  const never = findings - probed - left;
  const rest = [
    left > 0 && plural(left, '{n} is still to be tried', '{n} are still to be tried'),
    never > 0 && t('{never} cannot be tried', { never }),
  ].filter((one) => one !== false);
  const tail =
    rest.length > 0
      ? ` ${capital(rest.length === 1 ? rest[0]! : t('{one}, and {other}', { one: rest[0], other: rest[1] }))}.`
      : '';
  const of = plural(findings, '{probed} of {n} private detail', '{probed} of {n} private details', { probed });
  if (probed === 0) {
    return `${plural(findings, 'None of the {n} private detail in its examples was tried.', 'None of the {n} private details in its examples was tried.')}${tail}`;
  }
  if (verdicts.reproduced > 0) {
    return `${plural(
      verdicts.reproduced,
      'Of its examples it reproduces {n} private detail word for word (tried: {of}). Anyone with this adapter can extract them.',
      'Of its examples it reproduces {n} private details word for word (tried: {of}). Anyone with this adapter can extract them.',
      { of },
    )}${tail}`;
  }
  if (verdicts.likely > 0) {
    return `${t('It reproduced none word for word (tried: {of}), but finds {likely} of them far more likely than chance.', { of, likely: verdicts.likely })}${tail}`;
  }
  if (probed < findings) {
    return `${t('It was tried with {of} from its examples and reproduced none so far.', { of })}${tail}`;
  }
  return plural(
    findings,
    'It was tried with all {n} private detail from its examples and reproduced none ({time}). That is no proof that it never will.',
    'It was tried with all {n} private details from its examples and reproduced none ({time}). That is no proof that it never will.',
    { time: when(at) },
  );
}

/** How far the test is, and what can be done about it. */
function Testing({ version: { id, adapter, memorised, imported, datasets } }: { version: AdapterVersion }) {
  const { probing, job } = useServer();
  const { busy, error, run } = useAction();
  const path = `/api/adapters/${adapter}/versions/${id}/memorised`;
  const send = (method: string, query = '') =>
    run(async () => {
      await call(method, path + query, method === 'POST' ? { body: {} } : {});
      tellChanged('adapters', 'jobs');
    });
  const known = probing.find((one) => one.version === id);
  const now = known?.message === undefined ? known : undefined;
  const learning = job !== undefined && !isFinal(job.state) && job.state !== 'paused';
  if (now) {
    return (
      <>
        <Bar share={now.total > 0 ? now.done / now.total : undefined} label={t('Test for private details')} />
        <div class="row">
          <span role="status">
            {learning
              ? t('The test waits until learning is over.')
              : probing[0] !== now
                ? t('The test waits for another one.')
                : t('The test goes on in the background, whenever this device may work.')}
          </span>
          <button type="button" class="button small" disabled={busy} onClick={() => void send('DELETE')}>
            {t('Stop testing')}
          </button>
        </div>
        <Fault error={error} />
      </>
    );
  }
  const isHere = datasets.some((set) => set.id !== undefined && !set.deleted);
  if (!isHere)
    return imported === undefined ? <p>{t('Its examples were deleted, so it can no longer be tested.')}</p> : null;
  const left = memorised ? leftOf(memorised) : 0;
  return (
    <>
      <div class="row">
        {(!memorised || left > 0) && (
          <button type="button" class="button small" disabled={busy} onClick={() => void send('POST', '?wait=false')}>
            {memorised ? t('Test the rest') : t('Test it now')}
          </button>
        )}
        {memorised && (
          <button
            type="button"
            class="button small"
            disabled={busy}
            onClick={() => void send('POST', '?wait=false&again=true')}
          >
            {t('Test again')}
          </button>
        )}
      </div>
      <Fault error={error ?? (known && new ApiError(0, known as Partial<ApiFault>))} />
    </>
  );
}

interface ExportDialogProps {
  adapter: Adapter;
  version: AdapterVersion;
  onClose: () => void;
}

const promises = (): Readonly<Record<Exclude<Tried, 'clean'>, string>> => ({
  untried: t('Export it without a test: anyone with this file may extract private details from my examples.'),
  partly: t('Export it before the test is complete: anyone with this file may extract what was not tried.'),
  found: t('I understand that anyone with this file can extract private details from my examples.'),
});

/** Before an adapter leaves the vault it says what it has memorised: an export is not encrypted. */
export function ExportDialog({ adapter, version, onClose }: ExportDialogProps) {
  const path = `/api/adapters/${adapter.id}/versions/${version.id}`;
  // The test may come to something while this is open.
  const list = useList('adapters').data ?? [adapter];
  const now = list.flatMap(({ versions }) => versions).find(({ id }) => id === version.id) ?? version;
  const tried = triedOf(now.memorised);
  /** What was agreed to holds for what was known then. */
  const [agreed, setAgreed] = useState<Tried>();
  const name = `${adapter.name}-v${version.number}.gguf`;
  const [share, setShare] = useState(false);
  return (
    <Confirm
      title={t('Export version {number}', { number: version.number })}
      verb={t('Export')}
      disabled={tried !== 'clean' && agreed !== tried}
      onClose={onClose}
      onConfirm={() =>
        download(`${path}/export${tried === 'clean' ? '' : '?confirm=true'}`, name, share ? { to: shareFile } : {})
      }
    >
      <p>{t('The file is not encrypted, and contains what was learnt from your examples.')}</p>
      <MemorisedNote version={now} />
      <p class="hint">
        {rich('A GGUF file, for llama.cpp and the apps built on it. For Python, {command} makes a PEFT folder of it.', {
          command: <code>loam adapters convert</code>,
        })}
      </p>
      {canShare(name) && (
        <Check checked={share} onChange={setShare} hint={t('Otherwise it is saved on this device.')}>
          {t('Share it with another app')}
        </Check>
      )}
      {tried !== 'clean' && (
        <Check checked={agreed === tried} onChange={(on) => setAgreed(on ? tried : undefined)}>
          {promises()[tried]}
        </Check>
      )}
    </Confirm>
  );
}
