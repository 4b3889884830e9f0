import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../../logic/language.js';
import { openSheet } from '../browser.js';
import { useDraft } from '../drafts.js';
import { useAction } from '../server.js';
import { IconButton, TextField } from './controls.js';
import { Fault } from './layout.js';

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** Buttons at the foot. */
  actions?: ComponentChildren;
  wide?: boolean;
}

/** A dialog of the browser's own: it holds the focus, closes on Escape and on going back, and gives the focus back. On phones it comes from below. */
export function Dialog({ title, onClose, children, actions, wide }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  const close = useRef(onClose);
  close.current = onClose;
  useEffect(() => {
    const dialog = element.current!;
    const before = document.activeElement as HTMLElement | null;
    if (!dialog.open) dialog.showModal();
    const closed = openSheet(() => close.current());
    return () => {
      closed();
      dialog.close();
      before?.focus?.();
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the key for it is Escape, which the element itself turns into `cancel`.
    <dialog
      ref={element}
      class={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        // The backdrop belongs to the dialog element; everything inside it to its child.
        if (event.target === element.current) onClose();
      }}
    >
      <div class="dialog-sheet">
        <header class="dialog-head">
          <h2 id={id}>{title}</h2>
          <IconButton icon="close" label={t('Close')} onClick={onClose} />
        </header>
        <div class="dialog-body">{children}</div>
        {actions && <footer class="dialog-foot">{actions}</footer>}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  children: ComponentChildren;
  /** What the button says: a verb. */
  verb: string;
  danger?: boolean;
  disabled?: boolean;
  onClose: () => void;
  /** Its failure is shown in the dialog, which stays. */
  onConfirm: () => Promise<void>;
}

/** Asks before something that cannot be undone, or that people should know about first. */
export function Confirm({ title, children, verb, danger, disabled, onClose, onConfirm }: ConfirmProps) {
  const { busy, error, run } = useAction();
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <button type="button" class="button" onClick={onClose}>
            {t('Cancel')}
          </button>
          <button
            type="button"
            class={danger ? 'button danger' : 'button primary'}
            disabled={busy || disabled}
            onClick={() => void run(onConfirm).then((done) => done && onClose())}
          >
            {busy ? t('One moment…') : verb}
          </button>
        </>
      }
    >
      {children}
      <Fault error={error} />
    </Dialog>
  );
}

interface RenameProps {
  /** Of what is renamed: what was typed is kept under it. */
  id: string;
  name: string;
  onClose: () => void;
  onRename: (name: string) => Promise<void>;
}

export function Rename({ id, name, onClose, onRename }: RenameProps) {
  const [next, setNext] = useDraft(`name/${id}`, name);
  return (
    <Confirm
      title={t('Rename')}
      verb={t('Rename')}
      disabled={next.trim() === ''}
      onClose={onClose}
      onConfirm={async () => {
        await onRename(next.trim());
        setNext(name);
      }}
    >
      <TextField label={t('Name')} value={next} onInput={setNext} maxLength={120} />
    </Confirm>
  );
}
