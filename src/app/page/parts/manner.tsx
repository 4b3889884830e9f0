import { useState } from 'preact/hooks';
import type { WholeConversation } from '../../../serve/contract/chat.js';
import { t } from '../../logic/language.js';
import { call } from '../api.js';
import { useDraft } from '../drafts.js';
import { useAnswer } from '../server.js';
import type { Talk } from '../talk.js';
import { Check, TextField } from './controls.js';
import { Dialog } from './dialogs.js';

/** How a model is to answer: its instructions and how words are drawn, for one conversation, and as a rule for one adapter. */

export interface Manner {
  system: string;
  /** As typed; empty is the default. */
  temperature: string;
  topP: string;
  maxTokens: string;
}

const usual: Manner = { system: '', temperature: '', topP: '', maxTokens: '' };

const numbers = [
  { name: 'temperature', most: 5 },
  { name: 'topP', most: 1 },
  { name: 'maxTokens', most: 100_000 },
] as const;

const labels = () => ({
  temperature: {
    label: t('Liveliness'),
    hint: t('0 always takes the likeliest word; 1 and more is freer. Default 0.7.'),
  },
  topP: {
    label: t('Choice of words'),
    hint: t('Only words that together have this chance: 0.1 few, 1 all. Default 0.9.'),
  },
  maxTokens: { label: t('Longest answer'), hint: t('In tokens, three quarters of a word each.') },
});

/** As `ChatInput` takes it; `system` only where it says something new. */
export function asked(manner: Manner, before: WholeConversation | undefined): { system?: string; options: object } {
  const options = Object.fromEntries(
    numbers.flatMap(({ name }) => (manner[name].trim() === '' ? [] : [[name, Number(manner[name])]])),
  );
  const known = before?.messages.find(({ role }) => role === 'system')?.content ?? '';
  return { ...(manner.system !== known && { system: manner.system }), options };
}

function fault(name: (typeof numbers)[number]['name'], text: string): string | undefined {
  const { most } = numbers.find((one) => one.name === name)!;
  const least = name === 'maxTokens' ? 1 : 0;
  const value = Number(text);
  if (text.trim() === '' || (value >= least && value <= most)) return undefined;
  return t('A number from {least} to {most}.', { least, most });
}

export function isValid(manner: Manner): boolean {
  return numbers.every(({ name }) => fault(name, manner[name]) === undefined);
}

/** Of a conversation: as it is kept in it, else as it is the rule for the adapter. @param adapter its id; none: base models */
export function useManner(
  { id: conversation, whole }: Pick<Talk, 'id' | 'whole'>,
  adapter: string | undefined,
): {
  manner: Manner;
  setManner: (next: Manner) => void;
  /** Whether an answer may begin: also where no rule can be read. */
  isReady: boolean;
  /** Whether it is known what stands now: what is typed before would take its place unseen. */
  isKnown: boolean;
  keepAsRule: (next: Manner) => Promise<void>;
} {
  const settings = useAnswer<Record<string, unknown>>('/api/settings', ['settings']);
  const rule = `manner${adapter ?? 'Base'}`;
  const kept = settings.data?.[rule] as Manner | undefined;
  const options = (whole?.options ?? {}) as Record<string, number>;
  const initial: Manner = whole
    ? {
        system: whole.messages.find(({ role }) => role === 'system')?.content ?? '',
        temperature: String(options.temperature ?? ''),
        topP: String(options.topP ?? ''),
        maxTokens: String(options.maxTokens ?? ''),
      }
    : { ...usual, ...kept };
  const [manner, setManner] = useDraft(`manner/${whole?.id ?? rule}`, initial);
  return {
    manner,
    setManner,
    isReady: settings.data !== undefined || settings.error !== undefined,
    isKnown: settings.data !== undefined && (whole !== undefined || conversation === undefined),
    keepAsRule: async (next) => {
      await call('PATCH', '/api/settings', { body: { [rule]: next } });
    },
  };
}

interface MannerDialogProps {
  who: string;
  manner: Manner;
  onChange: (next: Manner) => void;
  onRule: (next: Manner) => Promise<void>;
  onClose: () => void;
}

export function MannerDialog({ who, manner, onChange, onRule, onClose }: MannerDialogProps) {
  const [always, setAlways] = useState(false);
  const close = () => {
    if (always && isValid(manner)) void onRule(manner);
    onClose();
  };
  return (
    <Dialog
      title={t('How it answers')}
      onClose={close}
      actions={
        <button type="button" class="button primary" onClick={close}>
          {t('Done')}
        </button>
      }
    >
      <TextField
        label={t('Instructions')}
        hint={t('Put before the conversation, for example: You answer in two sentences, kindly.')}
        rows={3}
        value={manner.system}
        onInput={(system) => onChange({ ...manner, system })}
      />
      {numbers.map(({ name }) => (
        <TextField
          key={name}
          {...labels()[name]}
          inputMode="decimal"
          verbatim
          value={manner[name]}
          error={fault(name, manner[name])}
          onInput={(text) => onChange({ ...manner, [name]: text })}
        />
      ))}
      <Check checked={always} onChange={setAlways}>
        {t('Begin new conversations with {who} like this', { who })}
      </Check>
      <button type="button" class="link" onClick={() => onChange(usual)}>
        {t('Back to the defaults')}
      </button>
    </Dialog>
  );
}
