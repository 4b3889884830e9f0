import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { JobState } from '../../serve/contract/jobs.js';
import type { Download } from '../../serve/contract/models.js';
import type { Changed, ChangeEvent, Status } from '../../serve/contract/server.js';
import { ApiError, call, isAbort, onReach } from './api.js';
import { follow } from './stream.js';

/** What goes on at the server: its status, and word of changes that this page or another browser made. */

const everything: readonly Changed[] = ['datasets', 'adapters', 'models', 'conversations', 'settings', 'vault', 'jobs'];

const changeListeners = new Set<(what: Changed) => void>();

export function tellChanged(what: Changed): void {
  for (const listener of changeListeners) listener(what);
}

export interface Live {
  status?: Status;
  /** The request for the status was refused: no token, or a wrong one. */
  refused: boolean;
  reached: boolean;
  downloads: Record<string, Download>;
  job?: { id: string; state: JobState };
  reload: () => Promise<void>;
}

/** Seconds between looks at a server that is gone. */
const LOOK = 3_000;

/** To be called once, by the app itself. */
export function useLive(): Live {
  const [status, setStatus] = useState<Status>();
  const [refused, setRefused] = useState(false);
  const [reached, setReached] = useState(true);
  const [downloads, setDownloads] = useState<Record<string, Download>>({});
  const [job, setJob] = useState<Live['job']>();
  const open = status?.vault === 'open' || status?.vault === 'absent';

  const reload = useCallback(async () => {
    try {
      const next = await call<Status>('GET', '/api/status');
      setStatus(next);
      setRefused(false);
      setJob(next.job ?? undefined);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) setRefused(true);
    }
  }, []);

  useEffect(() => {
    void reload();
    return onReach((ok, code) => {
      setReached(ok);
      if (code === 401) setRefused(true);
      // Locked by another browser, or the server was started again.
      if (code === 423) setStatus((old) => (old ? { ...old, vault: 'locked' } : old));
    });
  }, []);

  // Gone: look again and again, and when it is back let every screen load anew.
  useEffect(() => {
    if (reached) return;
    const look = async () => {
      if (document.visibilityState !== 'visible') return;
      await reload();
    };
    const timer = setInterval(() => void look(), LOOK);
    const now = () => void look();
    addEventListener('loam-retry', now);
    return () => {
      clearInterval(timer);
      removeEventListener('loam-retry', now);
      void reload();
      for (const what of everything) tellChanged(what);
    };
  }, [reached]);

  useEffect(() => {
    if (refused || !open) return;
    let latest: { id?: string; state?: JobState } = {};
    return follow('/api/events', {
      onEvent: (_id, data) => {
        const event = data as ChangeEvent;
        if (event.type === 'download') {
          setDownloads((old) => ({ ...old, [event.name]: event }));
          if (event.state !== 'running') {
            tellChanged('models');
            void reload();
          }
        } else if (event.type === 'job') {
          // One comes with every step of a run; what lists show of a job changes with its state only.
          const next = event.job;
          if (latest.id === next.id && latest.state === next.state) return;
          latest = next;
          setJob(next);
          tellChanged('jobs');
          if (next.state === 'done') tellChanged('adapters');
        } else if (event.type === 'reset') {
          for (const what of everything) tellChanged(what);
          void reload();
        } else if (event.type === 'changed') {
          tellChanged(event.what);
          if (event.what === 'vault' || event.what === 'models' || event.what === 'jobs') void reload();
        }
      },
    });
  }, [refused, open]);

  return { status, refused, reached, downloads, job, reload };
}

export interface Resource<T> {
  data?: T;
  error?: Error;
  loading: boolean;
  reload: () => Promise<void>;
  set: (data: T) => void;
}

/** Loads something from the server, and again whenever `what` changes there. The last answer stays in sight while a new one is awaited. */
export function useResource<T>(
  load: ((signal: AbortSignal) => Promise<T>) | undefined,
  what: readonly Changed[],
  key: readonly unknown[] = [],
): Resource<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<Error>();
  const [loading, setLoading] = useState(load !== undefined);
  const latest = useRef(load);
  latest.current = load;
  const running = useRef<AbortController | undefined>(undefined);

  const reload = useCallback(async () => {
    running.current?.abort();
    if (!latest.current) return;
    const abort = new AbortController();
    running.current = abort;
    setLoading(true);
    try {
      const next = await latest.current(abort.signal);
      if (abort.signal.aborted) return;
      setData(next);
      setError(undefined);
    } catch (caught) {
      if (isAbort(caught) || abort.signal.aborted) return;
      setError(caught as Error);
    }
    setLoading(false);
  }, []);

  useEffect(() => {
    setData(undefined);
    setError(undefined);
    void reload();
    return () => running.current?.abort();
  }, key);

  useEffect(() => {
    const onChange = (changed: Changed) => {
      if (what.includes(changed)) void reload();
    };
    changeListeners.add(onChange);
    return () => {
      changeListeners.delete(onChange);
    };
  }, []);

  return { data, error, loading, reload, set: setData };
}
