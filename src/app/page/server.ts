import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import type { ApiKey } from '../../serve/contract/access.js';
import type { Adapter } from '../../serve/contract/adapters.js';
import type { Conversation } from '../../serve/contract/chat.js';
import type { DatasetInfo } from '../../serve/contract/datasets.js';
import type { Job, JobChange, JobState } from '../../serve/contract/jobs.js';
import type { Download, ModelEntry } from '../../serve/contract/models.js';
import type { Changed, ChangeEvent, Status } from '../../serve/contract/server.js';
import { isFinal } from '../../serve/jobs/Job.js';
import { whereIs } from '../logic/stages.js';
import { ApiError, call, follow, isAbort, onReach } from './api.js';
import { isTold, tellEnd } from './around.js';
import { closeDrafts, openDrafts } from './drafts.js';

/**
 * The server as the screens see it: its status, what it lists, and word of changes that this page or another browser made; and the
 * actions that a screen asks of it.
 */

const everything: readonly Changed[] = [
  'datasets',
  'adapters',
  'models',
  'conversations',
  'settings',
  'vault',
  'jobs',
  'keys',
];

const changeListeners = new Set<(what: Changed) => Promise<void> | undefined>();

/** Makes every screen that shows one of these reload it; without arguments, everything. */
export function tellChanged(...what: Changed[]): void {
  void refresh(...what);
}

/** The same, and waits until they show what is true now: so no form goes back to what was. */
export async function refresh(...what: Changed[]): Promise<void> {
  const changed = what.length > 0 ? what : everything;
  await Promise.all(changed.flatMap((one) => [...changeListeners].map((listener) => listener(one))));
}

/** What is about to be deleted is in no list. */
const hidden = new Set<string>();

export function hide(ids: readonly string[]): void {
  for (const id of ids) hidden.add(id);
  tellChanged();
}

export function unhide(ids: readonly string[]): void {
  for (const id of ids) hidden.delete(id);
  tellChanged();
}

/** Without what is hidden, and adapters without their hidden versions. */
function shownOf<T extends object>(list: readonly T[]): T[] {
  if (hidden.size === 0) return [...list];
  const isShown = (one: object) => !('id' in one && hidden.has(one.id as string));
  return list.filter(isShown).flatMap((one) => {
    if (!('versions' in one)) return one;
    const versions = (one.versions as object[]).filter(isShown);
    return versions.length > 0 ? { ...one, versions } : [];
  });
}

export interface Server {
  status?: Status;
  /** What was typed earlier is at hand. */
  ready: boolean;
  /** This browser is not let in, or what answers is not its server. */
  refused: boolean;
  reached: boolean;
  downloads: ReadonlyMap<string, Download>;
  /** `share`: whole percents of all its stages, while it runs. */
  job?: { id: string; state: JobState; share?: number };
  /** Versions that are tested for private details, or wait for it. */
  probing: Status['probing'];
  reload: () => Promise<void>;
}

const ServerContext = createContext<Server | undefined>(undefined);
export const ServerProvider = ServerContext.Provider;

/** For every screen below the app. */
export function useServer(): Server {
  return useContext(ServerContext)!;
}

/** Milliseconds between looks at a server that is gone. */
const LOOK = 3_000;

/** Follows the server. Called once, by the app itself. */
export function useFollowedServer(): Server {
  const [status, setStatus] = useState<Status>();
  const [refused, setRefused] = useState(false);
  const [reached, setReached] = useState(true);
  const [downloads, setDownloads] = useState<ReadonlyMap<string, Download>>(new Map());
  const [job, setJob] = useState<Server['job']>();
  /** The vault may be another one. */
  const [round, setRound] = useState(0);
  const [ready, setReady] = useState(false);
  const [probing, setProbing] = useState<Status['probing']>([]);
  /** Number of the latest event. */
  const seen = useRef(0);
  /** The job that was heard of last, from whatever source. */
  const heard = useRef<Server['job']>(undefined);
  const open = status?.vault === 'open' || status?.vault === 'absent';

  const reload = useCallback(async () => {
    try {
      const next = await call<Status>('GET', '/api/status');
      setStatus(next);
      setRefused(false);
      // Events may have told of what came after it.
      if (Number(/\d+$/.exec(next.event)?.[0]) < seen.current) return;
      // Of one that still runs, an event is going to tell the end.
      if (!heard.current || isFinal(heard.current.state)) heard.current = next.job ?? undefined;
      setJob(next.job ?? undefined);
      setProbing(next.probing);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) setRefused(true);
    }
  }, []);

  useEffect(() => {
    void reload();
    return onReach((ok, code) => {
      setReached(ok);
      if (code === 401) setRefused(true);
      // Locked by another browser, or the server was restarted.
      if (code === 423) setStatus((old) => (old ? { ...old, vault: 'locked' } : old));
    });
  }, []);

  // Gone, or another program has its port: keep looking, and when it is back let every screen reload.
  useEffect(() => {
    if (reached && !refused) return;
    const look = () => {
      if (document.visibilityState === 'visible') void reload();
    };
    const timer = setInterval(look, LOOK);
    addEventListener('loam-retry', look);
    return () => {
      clearInterval(timer);
      removeEventListener('loam-retry', look);
      void reload();
      tellChanged();
    };
  }, [reached, refused]);

  useEffect(() => {
    if (refused || !open) return;
    /** One event comes with every step of a run, but what lists show of a job changes only with its state. */
    const hear = (next: JobChange) => {
      const told = { id: next.id, state: next.state, share: shareOf(next) };
      const before = heard.current?.id === next.id ? heard.current : undefined;
      if (before?.state === next.state && before.share === told.share) return;
      heard.current = told;
      setJob(told);
      if (before?.state === next.state) return;
      if (before && !isFinal(before.state) && isFinal(next.state)) void tellEnd(next);
      tellChanged('jobs');
      if (next.state === 'done') tellChanged('adapters');
    };
    /** The end of the job that was heard of last may be among what was missed. */
    const tellMissed = async () => {
      const id = heard.current?.id;
      if (id === undefined || isFinal(heard.current!.state)) return;
      const job = await call<Job>('GET', `/api/jobs/${id}`).catch(() => undefined);
      if (!job || !isFinal(job.state) || heard.current?.id !== id || isFinal(heard.current.state)) return;
      heard.current = { id, state: job.state };
      void tellEnd(job);
    };
    return follow('/api/events', {
      after: status!.event,
      alsoHidden: isTold,
      onEvent: (id, data) => {
        const event = data as ChangeEvent;
        seen.current = event.type === 'reset' ? 0 : id;
        if (event.type === 'download') {
          setDownloads((old) => new Map(old).set(event.name, event));
          if (event.state !== 'running') {
            tellChanged('models');
            void reload();
          }
        } else if (event.type === 'job') {
          hear(event.job);
        } else if (event.type === 'probing') {
          setProbing(event.probing);
        } else if (event.type === 'reset') {
          tellChanged();
          void reload();
          void tellMissed();
        } else if (event.type === 'changed') {
          tellChanged(event.what);
          if (event.what === 'vault') setRound((n) => n + 1);
          if (event.what === 'vault' || event.what === 'models' || event.what === 'jobs') void reload();
        }
      },
    });
  }, [refused, open]);

  useEffect(() => {
    if (!open) {
      closeDrafts();
      setReady(false);
      return;
    }
    void openDrafts().then(() => setReady(true));
  }, [open, round]);

  return { status, ready, refused, reached, downloads, job, probing, reload };
}

function shareOf({ state, stage, progress, method }: JobChange): number | undefined {
  if (state !== 'running' || !stage) return undefined;
  return Math.floor(100 * whereIs({ stage, progress, options: { method } }).whole);
}

export interface Resource<T> {
  data?: T;
  error?: Error;
  reload: () => Promise<void>;
  set: (data: T) => void;
}

/** Loads something from the server, and reloads it whenever `what` changes there. The last answer stays in sight meanwhile. */
export function useResource<T>(
  load: ((signal: AbortSignal) => Promise<T>) | undefined,
  what: readonly Changed[] = [],
  key: readonly unknown[] = [],
): Resource<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<Error>();
  const latest = useRef(load);
  latest.current = load;
  const running = useRef<AbortController | undefined>(undefined);
  const newest = useRef(Promise.resolve());

  const reload = useCallback(() => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    const run = async () => {
      try {
        const next = await latest.current?.(abort.signal);
        if (abort.signal.aborted || next === undefined) return;
        setData(next);
        setError(undefined);
      } catch (caught) {
        if (!isAbort(caught) && !abort.signal.aborted) setError(caught as Error);
      } finally {
        // Overtaken by another one: whoever waits for what is true now has it with that.
        if (running.current !== abort) await newest.current;
      }
    };
    newest.current = run();
    return newest.current;
  }, []);

  useEffect(() => {
    setData(undefined);
    setError(undefined);
    void reload();
    return () => running.current?.abort();
  }, key);

  useEffect(() => {
    const onChange = (changed: Changed) => (what.includes(changed) ? reload() : undefined);
    changeListeners.add(onChange);
    return () => {
      changeListeners.delete(onChange);
    };
  }, []);

  return { data, error, reload, set: setData };
}

/** One answer of the server, by its address. */
export function useAnswer<T>(path: string, what: readonly Changed[] = []): Resource<T> {
  return useResource((signal) => call<T>('GET', path, { signal }), what, [path]);
}

/** What the server lists. Each has the same name in the answer as in the address. */
interface Lists {
  adapters: Adapter;
  conversations: Conversation;
  datasets: DatasetInfo;
  jobs: Job;
  keys: ApiKey;
  models: ModelEntry;
}

export function useList<K extends keyof Lists>(what: K): Resource<Lists[K][]> {
  return useListed<K, Lists[K]>(what);
}

/** A part of it. @param query begins with a question mark */
export function useListed<K extends keyof Lists, T extends Lists[K]>(what: K, query = ''): Resource<T[]> {
  return useResource(
    async (signal) => shownOf((await call<Record<K, T[]>>('GET', `/api/${what}${query}`, { signal }))[what]),
    [what],
    [query],
  );
}

export interface Action {
  busy: boolean;
  error?: Error;
  /** @returns whether it succeeded; a failure is kept in `error` until the next attempt */
  run: (work: () => Promise<void>) => Promise<boolean>;
}

/** Something the person starts that may fail. An aborted one has not failed; of several, the latest counts. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const latest = useRef(0);
  const run = async (work: () => Promise<void>) => {
    const mine = ++latest.current;
    setBusy(true);
    setError(undefined);
    try {
      await work();
      return true;
    } catch (caught) {
      if (!isAbort(caught) && mine === latest.current) setError(caught as Error);
      return false;
    } finally {
      if (mine === latest.current) setBusy(false);
    }
  };
  return { busy, error, run };
}
