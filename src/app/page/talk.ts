import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { ChatEvent, SaidMessage, WholeConversation } from '../../serve/contract/chat.js';
import { ApiError, ask, call, isAbort, listen } from './api.js';
import { announce, href } from './browser.js';
import { readDraft, writeDraft } from './drafts.js';
import { tellChanged } from './server.js';

/**
 * A conversation while it is on screen. Its answers are the server's: leaving the screen only ends the listening, and coming back goes on
 * with it.
 */

export interface Talk {
  /** Id, once there is one. */
  id: string | undefined;
  /** As the server keeps it. */
  whole: WholeConversation | undefined;
  messages: readonly SaidMessage[];
  /** The answer that is being given, and to what. */
  answer: { question?: string; text: string; thought: string; since: number; goesOn: boolean } | undefined;
  /** Of the last answer that came to its end here. */
  speed: { tokens: number; seconds: number } | undefined;
  forgot: number;
  error: Error | undefined;
  loading: boolean;
  /** @returns whether it was begun */
  send: (asked: Asked) => Promise<boolean>;
  stop: () => void;
  reload: () => Promise<void>;
}

/** As `ChatInput`, without its conversation. */
export interface Asked {
  message?: string;
  after?: number;
  goOn?: true;
  [more: string]: unknown;
}

/** What was asked and is not kept yet: should the server end before the answer does, it is not lost. */
const askedName = (id: string) => `asked/${id}`;

/** What is being typed. */
export interface ChatDraft {
  text: string;
  /** It takes the place of what was said from there on. */
  after?: number;
  /** What stood in the box before an earlier question was edited in it. */
  kept?: string;
}

/** Ends the draft that was sent; another one, which stands in the box while an answer is gone on with or given anew, goes along. */
function sent(from: string, to: string, question: string | undefined): void {
  const draft = readDraft<ChatDraft>(from);
  if (!draft) return;
  const isSent = draft.text.trim() === question;
  if (!isSent && from === to) return;
  writeDraft(from, undefined);
  const rest = isSent ? draft.kept && { text: draft.kept } : draft;
  if (rest) writeDraft(to, rest);
}

export function useTalk(conversation: string | undefined): Talk {
  const [whole, setWhole] = useState<WholeConversation>();
  const [local, setLocal] = useState<readonly SaidMessage[]>([]);
  const [answer, setAnswer] = useState<Talk['answer']>();
  const [speed, setSpeed] = useState<Talk['speed']>();
  const [forgot, setForgot] = useState(0);
  const [error, setError] = useState<Error>();
  const [loading, setLoading] = useState(conversation !== undefined);
  const current = useRef<string | undefined>(undefined);
  const running = useRef<AbortController | undefined>(undefined);
  const stopping = useRef(false);

  const load = useCallback(async (id: string, signal?: AbortSignal) => {
    const next = await call<WholeConversation>('GET', `/api/conversations/${id}`, { signal });
    if (current.current !== id) return next;
    setWhole(next);
    setLocal([]);
    return next;
  }, []);

  const stop = () => {
    stopping.current = true;
    // Not known yet where it is kept: it ends as soon as that is told.
    if (current.current) void call('POST', `/api/conversations/${current.current}/stop`, { body: {} }).catch(() => {});
    else if (!whole) running.current?.abort();
  };

  /** Hears an answer to its end. */
  const hear = async (events: AsyncGenerator<ChatEvent>, abort: AbortController, head: Talk['answer']) => {
    running.current = abort;
    let state = head!;
    let frame = 0;
    const draw = () => {
      frame = 0;
      if (running.current === abort) setAnswer(state);
    };
    setAnswer(state);
    setSpeed(undefined);
    setError(undefined);
    let isBegun = false;
    let isKept = true;
    try {
      for await (const event of events) {
        if (event.type === 'begun') {
          isBegun = true;
          // Of one that begins, the draft was one of no conversation.
          sent(`chat/${current.current ?? ''}`, `chat/${event.conversation}`, state.question);
          if (current.current !== event.conversation) {
            current.current = event.conversation;
            history.replaceState(history.state, '', href('chat', event.conversation));
          }
          if (state.question !== undefined) writeDraft(askedName(event.conversation), state.question);
          tellChanged('conversations');
          if (stopping.current) stop();
        }
        if (event.type === 'text') state = { ...state, text: state.text + event.text };
        if (event.type === 'thought') state = { ...state, thought: state.thought + event.text };
        if (event.type === 'forgot') setForgot(event.messages);
        if (event.type === 'done') {
          isKept = event.conversation !== null;
          isBegun = true;
          setSpeed({ tokens: event.tokens, seconds: event.seconds });
        }
        frame ||= requestAnimationFrame(draw);
      }
    } catch (caught) {
      if (isAbort(caught)) return isBegun;
      if (running.current === abort) setError(caught as Error);
    } finally {
      cancelAnimationFrame(frame);
    }
    if (running.current !== abort) return isBegun;
    const id = current.current;
    if (isKept && id) {
      await load(id).catch(() => {});
      restoreAsked(id);
    } else if (state.text !== '') {
      const said: SaidMessage = { role: 'assistant', content: state.text };
      setLocal((old) => [
        ...old,
        ...(state.question ? [{ role: 'user', content: state.question } as const] : []),
        said,
      ]);
    }
    setAnswer(undefined);
    announce(state.text);
    tellChanged('conversations');
    return isBegun;
  };

  const restoreAsked = (id: string) => {
    const asked = readDraft<string>(askedName(id));
    if (asked === undefined) return;
    void call<WholeConversation>('GET', `/api/conversations/${id}`)
      .catch((caught: unknown) => {
        // Not even its beginning was kept.
        if (caught instanceof ApiError && caught.status === 404) return undefined;
        throw caught;
      })
      .then((now) => {
        if (now?.answering) return;
        writeDraft(askedName(id), undefined);
        const isKept = now?.messages.some(({ role, content }) => role === 'user' && content === asked);
        if (!isKept && !readDraft(`chat/${id}`)) writeDraft(`chat/${id}`, { text: asked });
      })
      .catch(() => {});
  };

  useEffect(() => () => running.current?.abort(), []);
  useEffect(() => {
    if (conversation === current.current) return;
    running.current?.abort();
    running.current = undefined;
    current.current = conversation;
    stopping.current = false;
    setAnswer(undefined);
    setWhole(undefined);
    setLocal([]);
    setError(undefined);
    setSpeed(undefined);
    setForgot(0);
    setLoading(conversation !== undefined);
    if (!conversation) return;
    const abort = new AbortController();
    void load(conversation, abort.signal)
      .then(async (kept) => {
        setLoading(false);
        if (!kept.answering) return restoreAsked(conversation);
        const head = { question: kept.question, text: '', thought: '', since: Date.now(), goesOn: !kept.question };
        await hear(listen(`/api/conversations/${conversation}/answer`, abort.signal), abort, head);
      })
      .catch((caught) => {
        if (isAbort(caught)) return;
        setError(caught as Error);
        setLoading(false);
        restoreAsked(conversation);
      });
    return () => abort.abort();
  }, [conversation]);

  const send = async (asked: Asked) => {
    const abort = new AbortController();
    stopping.current = false;
    const id = current.current;
    if (asked.after !== undefined && whole) setWhole({ ...whole, messages: whole.messages.slice(0, asked.after) });
    const head = { question: asked.message, text: '', thought: '', since: Date.now(), goesOn: asked.goOn === true };
    const body = { ...(id && { conversation: id }), ...asked };
    return await hear(ask<ChatEvent>('/api/chat', body, abort.signal), abort, head);
  };

  return {
    id: current.current ?? conversation,
    whole,
    messages: [...(whole?.messages ?? []), ...local],
    answer,
    speed,
    forgot,
    error,
    loading,
    send,
    stop,
    reload: async () => {
      if (current.current) await load(current.current);
    },
  };
}
