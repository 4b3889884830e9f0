import { useEffect, useMemo, useState } from 'preact/hooks';
import { ruleOptions } from '../../../base/device/rules.js';
import type { JobRules } from '../../../serve/contract/jobs.js';
import { formFields, readForm, typedOf } from '../../logic/formFields.js';
import { language, t } from '../../logic/language.js';
import { call } from '../api.js';
import { canTell, isTold, setTold } from '../around.js';
import { useDraft, writeDraft } from '../drafts.js';
import { refresh, useAction, useAnswer } from '../server.js';
import { Check, OptionField } from './controls.js';
import { Fault, Icon, Pending } from './layout.js';

/** When runs may work on this device: by rules for all of them, and the screen while one does. */

const ruled = Object.entries(ruleOptions).map(([name, option]) => ({ name, ...option }));

/** A part of the settings. */
export function Rules() {
  const rules = useAnswer<JobRules>('/api/rules', ['settings']);
  return (
    <details class="sheet fold">
      <summary>{t('When tuning may run')}</summary>
      {rules.data ? <RulesForm rules={rules.data} /> : <Pending of={[rules]} />}
    </details>
  );
}

/** Only once the rules are known: what is typed into empty fields before would take the place of them all. */
function RulesForm({ rules }: { rules: JobRules }) {
  const fields = useMemo(() => Object.values(formFields(ruled)).flat(), [language()]);
  const kept = { ...typedOf(fields, rules), onDemand: rules.onDemand ?? false };
  const [typed, setTyped] = useDraft<Record<string, string | boolean>>('rules', kept);
  const [saved, setSaved] = useState(false);
  const { busy, error: failed, run } = useAction();
  const { options, faults } = readForm(fields, typed);
  const change = (name: string, value: string | boolean) => {
    setSaved(false);
    setTyped({ ...typed, [name]: value });
  };
  const save = () =>
    run(async () => {
      const body = { ...options, ...(typed.onDemand === true && { onDemand: true }) };
      await call('POST', '/api/rules', { body });
      await refresh('settings', 'jobs');
      writeDraft('rules', undefined);
      setSaved(true);
    });
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (Object.keys(faults).length === 0) void save();
      }}
    >
      <p class="quiet">
        {t('A run that may not work pauses, and goes on by itself. What you leave empty asks nothing of the device.')}
      </p>
      {fields.map((field) => (
        <OptionField
          key={field.name}
          field={field}
          value={typed[field.name]}
          fault={faults[field.name]}
          onChange={(value) => change(field.name, value)}
        />
      ))}
      <Check
        checked={typed.onDemand === true}
        onChange={(on) => change('onDemand', on)}
        hint={t('New runs wait until you press Run now.')}
      >
        {t('Only when I start it')}
      </Check>
      <Fault error={failed} />
      <div class="row">
        <button type="submit" class="button" disabled={busy}>
          <Icon name="check" /> {t('Save')}
        </button>
        <span class="quiet" role="status">
          {saved && t('Saved.')}
        </span>
      </div>
    </form>
  );
}

/** Keeps the screen on while it is asked for and the page is in sight; where the browser cannot, it is not offered. */
export function KeepScreenOn() {
  const [on, setOn] = useState(false);
  useEffect(() => {
    if (!on) return;
    let held: WakeLockSentinel | undefined;
    let ended = false;
    const hold = async () => {
      if (document.visibilityState !== 'visible') return;
      // A system that is short of power refuses.
      held = await navigator.wakeLock.request('screen').catch(() => undefined);
      if (ended) void held?.release();
    };
    void hold();
    // The system takes it away when the page is hidden.
    document.addEventListener('visibilitychange', hold);
    return () => {
      ended = true;
      document.removeEventListener('visibilitychange', hold);
      void held?.release();
    };
  }, [on]);
  if (!('wakeLock' in navigator)) return null;
  return (
    <Check checked={on} onChange={setOn}>
      {t('Keep the screen on')}
    </Check>
  );
}

/** A notification and a badge at the end of a run: the browser asks for its permission when the person presses this, and never before. */
export function TellMe() {
  const [on, setOn] = useState(isTold);
  const [refused, setRefused] = useState(false);
  if (!canTell()) return null;
  return (
    <Check
      checked={on}
      onChange={(next) =>
        void setTold(next).then((told) => {
          setOn(told);
          setRefused(next && !told);
        })
      }
      hint={
        refused
          ? t('The browser does not allow it: allow notifications for this page in its settings.')
          : t('A notification, as long as this page stays open somewhere; it names nothing of yours.')
      }
    >
      {t('Tell me when it ends')}
    </Check>
  );
}
