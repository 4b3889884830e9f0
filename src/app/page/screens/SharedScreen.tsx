import { useEffect, useState } from 'preact/hooks';
import { plural, t } from '../../logic/language.js';
import { size } from '../../logic/words.js';
import { dropShared, type Shared, sharedWithUs } from '../around.js';
import { go, href, replace } from '../browser.js';
import { useTaking } from '../parts/files.js';
import { Bar, Icon, Loading, Page } from '../parts/layout.js';

/** What another app has shared with this one: shown, and added only when the person says so. */
export function SharedScreen() {
  const [shared, setShared] = useState<Shared>();
  const { take, sending, words } = useTaking();
  useEffect(() => void sharedWithUs().then(setShared), []);
  const drop = () => {
    dropShared();
    replace('data');
  };
  const add = async (files: Shared) => {
    const made = await take(files);
    if (made.length < files.length) return;
    dropShared();
    // One opens by itself.
    if (files.length > 1) go('data');
  };
  return (
    <Page title={t('Shared with Loam')} back={href('data')}>
      {!shared && <Loading />}
      {shared?.length === 0 && (
        <p>{t('There is nothing here any more. Share it again, or pick the file under Data.')}</p>
      )}
      {shared && shared.length > 0 && (
        <>
          <p>
            {t(
              'Another app, or a web page, sent this. Nothing of it has been stored. Add it only if it was you who shared it.',
            )}
          </p>
          <ul class="plain-list">
            {shared.map((file) => (
              <li key={file.name}>
                <Shown file={file} />
              </li>
            ))}
          </ul>
          {sending ? (
            <Bar
              share={sending.share < 1 ? sending.share : undefined}
              label={t('Adding {name}', { name: sending.name })}
            />
          ) : (
            <div class="row">
              <button type="button" class="button primary" onClick={() => void add(shared)}>
                <Icon name="add" /> {plural(shared.length, 'Add {n} file to the data', 'Add {n} files to the data')}
              </button>
              <button type="button" class="button" onClick={drop}>
                {t('Discard')}
              </button>
            </div>
          )}
          {words}
        </>
      )}
    </Page>
  );
}

/** Bytes that are looked at of a file to show how it begins. */
const BEGINNING = 400;

function Shown({ file }: { file: File }) {
  const [text, setText] = useState('');
  useEffect(() => {
    if (!/^text\/|json/.test(file.type) && !/\.(txt|md|csv|tsv|jsonl?)$/i.test(file.name)) return;
    void file
      .slice(0, BEGINNING)
      .text()
      .then(
        (found) => setText(found.replace(/\uFFFD+$/, '')),
        () => {},
      );
  }, [file]);
  return (
    <span>
      <strong>{file.name}</strong> <span class="quiet">{size(file.size)}</span>
      {text !== '' && <span class="clamp quiet">{text}</span>}
    </span>
  );
}
