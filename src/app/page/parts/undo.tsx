import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../../logic/language.js';
import { sayFault } from '../../logic/said.js';
import { ApiError, isAbort, request, requestNow } from '../api.js';
import { announce, keep, readKept } from '../browser.js';
import { dropDrafts } from '../drafts.js';
import { hide, tellChanged, unhide } from '../server.js';
import { Icon } from './layout.js';

/**
 * What was done can be undone for a while: left out, removed, deleted. A deletion that destroys keys cannot be taken back once it
 * happened, so it happens when the time is over or the page is left; until then what it is about is hidden.
 */

/** Milliseconds; longer while the person points at it or has reached it by the keyboard. */
const TIME = 10_000;

interface Offer {
  text: string;
  undo: () => unknown;
  /** What happens unless it is undone. */
  commit?: () => Promise<void>;
}

let offer: Offer | undefined;
let show = (_: Offer | undefined) => {};

/** Offers to take something back that was done. */
export function offerUndo(text: string, undo: () => unknown): void {
  begin({ text, undo });
}

function begin(next: Offer): void {
  void offer?.commit?.();
  offer = next;
  announce(next.text);
  show(next);
}

const PENDING = 'loam-deletions';

interface Deletion {
  /** Ids of what is gone with it. */
  ids: readonly string[];
  /** For DELETE. */
  path: string;
}

/** Deletions that wait, of this page and of others: when each was last heard of, in milliseconds since 1970. */
type Noted = Record<string, { ids: readonly string[]; at: number }>;

const pending = new Map<string, Deletion>();

/** Deletes when the time to undo is over. */
export function deleteLater(text: string, deletion: Deletion): void {
  const { ids, path } = deletion;
  pending.set(path, deletion);
  note(deletion);
  hide(ids);
  const end = () => {
    pending.delete(path);
    note(deletion, false);
  };
  begin({
    text,
    undo() {
      end();
      unhide(ids);
    },
    async commit() {
      end();
      try {
        await request('DELETE', path);
        dropDrafts(...ids);
        tellChanged();
      } catch (error) {
        // Gone already, by another way.
        if (isAbort(error) || (error instanceof ApiError && error.status === 404)) return;
        unhide(ids);
        begin({ text: t('It could not be deleted: {message}', { message: sayFault(error as Error).text }), undo() {} });
      }
    },
  });
}

function noted(): Noted {
  const all = JSON.parse(readKept(PENDING) ?? '{}') as Noted | string[];
  // An earlier version of the page noted addresses alone.
  return Array.isArray(all) ? Object.fromEntries(all.map((path) => [path, { ids: [], at: 0 }])) : all;
}

/** What is to be deleted: should the page be ended before, another one does it. */
function note({ path, ids }: Deletion, waits = true): void {
  const all = noted();
  if (waits) all[path] = { ids, at: Date.now() };
  else delete all[path];
  keep(PENDING, Object.keys(all).length === 0 ? null : JSON.stringify(all));
}

/** Milliseconds after which a page that has not been heard of has ended. */
const SILENCE = 2 * TIME;

/**
 * What pages that were ended had still to delete. One that still offers to take a deletion back is left its time: in two tabs the second
 * must not do what can be undone in the first. Called once, when the vault is open.
 */
export function finishDeletions(): void {
  for (const [path, { ids }] of Object.entries(noted())) {
    if (pending.has(path)) continue;
    hide(ids);
    const look = async () => {
      const now = noted()[path];
      const left = now ? now.at + SILENCE - Date.now() : 0;
      if (left > 0) return setTimeout(look, left);
      if (now) {
        note({ path, ids }, false);
        await request('DELETE', path).catch(() => {});
      }
      return unhide(ids);
    };
    void look();
  }
}

addEventListener('pagehide', () => {
  for (const path of pending.keys()) requestNow('DELETE', path);
});

/** At the foot of the window, whatever is on screen. */
export function UndoBar() {
  const [shown, setShown] = useState(offer);
  const held = useRef(false);
  useEffect(() => {
    show = setShown;
  }, []);
  useEffect(() => {
    if (!shown) return;
    const end = () => {
      // Not under the finger.
      if (!held.current) return finish(shown);
      for (const deletion of pending.values()) note(deletion);
      timer = setTimeout(end, TIME / 4);
    };
    let timer = setTimeout(end, TIME);
    return () => clearTimeout(timer);
  }, [shown]);
  const finish = (one: Offer) => {
    held.current = false;
    if (offer !== one) return;
    offer = undefined;
    setShown(undefined);
    void one.commit?.();
  };
  if (!shown) return null;
  const hold = (on: boolean) => () => {
    held.current = on;
  };
  return (
    <section
      class="undo"
      aria-label={t('Undo')}
      onPointerEnter={hold(true)}
      onPointerLeave={hold(false)}
      onFocusCapture={hold(true)}
      onBlurCapture={hold(false)}
    >
      <span class="clamp">{shown.text}</span>
      <button
        type="button"
        class="button small"
        onClick={() => {
          offer = undefined;
          held.current = false;
          setShown(undefined);
          void shown.undo();
          announce(t('Undone'));
        }}
      >
        <Icon name="undo" size={18} /> {t('Undo')}
      </button>
      <button type="button" class="icon-button" aria-label={t('Close')} onClick={() => finish(shown)}>
        <Icon name="close" size={18} />
      </button>
    </section>
  );
}
