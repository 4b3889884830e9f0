import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Dialog } from './Dialog.js';
import { Fault } from './Fault.js';

interface Props {
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
export function Confirm({ title, children, verb, danger, disabled, onClose, onConfirm }: Props) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const confirm = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await onConfirm();
      onClose();
    } catch (caught) {
      setError(caught as Error);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            class={danger ? 'button danger' : 'button primary'}
            disabled={busy || disabled}
            onClick={() => void confirm()}
          >
            {busy ? 'One moment…' : verb}
          </button>
        </>
      }
    >
      {children}
      <Fault error={error} />
    </Dialog>
  );
}
