import { useEffect, useState } from 'preact/hooks';
import type { CompareEvent, SaidMessage } from '../../serve/contract/chat.js';
import { type ChosenVersion, type Speaker, speakerOf } from '../logic/speakers.js';
import { ask } from './api.js';
import { readDraft, useDraft, writeDraft } from './drafts.js';

/**
 * What the base model and a version of an adapter have answered to the same question. It lasts as drafts do, one comparison for each
 * version; it goes on while the page that asked is open, whatever that shows, and every tab sees it grow.
 */

type Side = 'base' | 'adapted';
type Ended = Extract<CompareEvent, { type: 'side' }>;

/** `end`: by what it came to its end, once it has. */
export interface SideAnswer {
  text: string;
  thought: string;
  end?: Ended['reason'];
}

type Answers = Record<Side, SideAnswer>;

const none: Answers = { base: { text: '', thought: '' }, adapted: { text: '', thought: '' } };

/** The answers as they grow. */
export async function* askBoth(
  body: Pick<Speaker, 'model' | 'version'> & { prompt: string; options: object },
  signal: AbortSignal,
): AsyncGenerator<Answers, void, void> {
  let answers = none;
  for await (const event of ask<CompareEvent>('/api/compare', body, signal)) {
    if (event.type === 'done') return;
    const old = answers[event.side];
    const more = event.type === 'side' ? { end: event.reason } : { [event.type]: old[event.type] + event.text };
    answers = { ...answers, [event.side]: { ...old, ...more } };
    yield answers;
  }
}

/** As it is kept; the rating is that of the adapted answer. */
export interface Compared extends Answers, Pick<SaidMessage, 'rating' | 'kept'> {
  question: string;
  /** When it was asked, in milliseconds since 1970; tells one asking from the next. */
  at: number;
  stopped?: true;
}

/** Of what is deleted, the draft goes by either id. */
const nameOf = ({ adapter, version }: ChosenVersion) => `compared/${adapter.id}/${version.id}`;
const lockOf = (at: number) => `loam-compared-${at}`;
const isOpen = ({ base, adapted, stopped }: Compared) => !stopped && !(base.end && adapted.end);

/** What this page asks, by when. */
const running = new Map<number, AbortController>();

async function compare(chosen: ChosenVersion, speaker: Speaker, question: string): Promise<void> {
  const name = nameOf(chosen);
  const at = Date.now();
  const abort = new AbortController();
  running.get(readDraft<Compared>(name)?.at ?? 0)?.abort();
  running.set(at, abort);
  /** Stopped, asked anew or deleted, perhaps in another tab: then it is not this one's any more. */
  const own = () => {
    const kept = readDraft<Compared>(name);
    return kept?.at === at && !kept.stopped ? kept : undefined;
  };
  const run = async () => {
    writeDraft(name, { ...none, question, at } satisfies Compared);
    try {
      const { model, version } = speaker;
      for await (const answers of askBoth({ prompt: question, model, version, options: {} }, abort.signal)) {
        const kept = own();
        if (!kept) return;
        writeDraft(name, { ...kept, ...answers });
      }
    } finally {
      running.delete(at);
      const kept = own();
      if (kept && isOpen(kept)) writeDraft(name, { ...kept, stopped: true });
    }
  };
  // Held as long as the page lives: so other tabs, and this one after a reload, know whether anybody still asks.
  await (navigator.locks ? navigator.locks.request(lockOf(at), run) : run());
}

export interface Comparison {
  /** The last one. */
  compared: Compared | undefined;
  busy: boolean;
  ask: (question: string) => Promise<void>;
  stop: () => void;
  rate: (mark: Pick<SaidMessage, 'rating' | 'kept'>) => void;
}

export function useComparison(chosen: ChosenVersion | undefined, models: Parameters<typeof speakerOf>[1]): Comparison {
  const name = chosen ? nameOf(chosen) : 'compared/';
  const [compared] = useDraft<Compared | undefined>(name, undefined);
  /** Of the one in sight, as it is by now. */
  const change = (more: Partial<Compared>) => {
    const now = readDraft<Compared>(name);
    if (now && now.at === compared?.at) writeDraft(name, { ...now, ...more });
  };
  const open = compared && isOpen(compared) ? compared.at : undefined;
  /** One that nobody asks any more. */
  const [gone, setGone] = useState<number>();
  useEffect(() => {
    if (open === undefined || running.has(open)) return;
    const abort = new AbortController();
    if (navigator.locks) {
      navigator.locks.request(lockOf(open), { signal: abort.signal }, () => setGone(open)).catch(() => {});
    } else setGone(open);
    return () => abort.abort();
  }, [open]);
  return {
    compared,
    busy: open !== undefined && open !== gone,
    ask: async (question) => {
      if (chosen) await compare(chosen, speakerOf(chosen, models), question);
    },
    stop: () => {
      running.get(compared?.at ?? 0)?.abort();
      change({ stopped: true });
    },
    rate: change,
  };
}
