import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../../logic/language.js';
import { sayFault } from '../../logic/said.js';
import { type Resource, useServer } from '../server.js';

/** What every screen is made of: icons, the frame, empty lists, faults, progress, figures. */

/** Line icons on a grid of 24, drawn here, so that no font or picture is fetched. */
const paths = {
  data: 'M4 6.5h16M4 12h16M4 17.5h10',
  tune: 'M12 21v-9M12 12c0-4 2.5-6.5 7-7 0 4.5-2.5 7-7 7zM12 15c-.2-3.2-2.3-5-6.5-5 .3 3.5 2.5 5.2 6.5 5zM5 21h14',
  progress: 'M4 19V5M4 19h16M7.5 8c2 5 4.5 7.5 11.5 8',
  compare: 'M12 4v16M4 7h5M4 11h5M4 15h3M15 7h5M15 11h5M15 15h3',
  chat: 'M5 5h14v10.5H11L7 19v-3.5H5z',
  adapters: 'M12 3.5 20.5 8 12 12.5 3.5 8zM3.5 12 12 16.5l8.5-4.5M3.5 16 12 20.5l8.5-4.5',
  settings: 'M4 7h9M17 7h3M4 12h3M11 12h9M4 17h9M17 17h3M15 5v4M9 10v4M15 15v4',
  add: 'M12 5v14M5 12h14',
  back: 'M15 5l-7 7 7 7',
  next: 'M9 5l7 7-7 7',
  close: 'M6 6l12 12M18 6L6 18',
  up: 'M8 11v8H5v-8zM8 11l4-7c1.5 0 2.3 1 2 2.5L13.5 10H18a1.8 1.8 0 0 1 1.7 2.2l-1.3 5.5A1.7 1.7 0 0 1 16.7 19H8',
  down: 'M16 13V5h3v8zM16 13l-4 7c-1.5 0-2.3-1-2-2.5l.5-3.5H6a1.8 1.8 0 0 1-1.7-2.2l1.3-5.5A1.7 1.7 0 0 1 7.3 5H16',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5.5v13l11-6.5z',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  unlock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.8-1.2',
  trash: 'M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13',
  edit: 'M5 19l1-4L16 5l3 3L9 18z',
  warn: 'M12 4 21 20H3zM12 10v4.5M12 17.2h.01',
  eye: 'M2.5 12S6 6 12 6s9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  copy: 'M9 9h10v11H9zM6 15H5V4h10v2',
  again: 'M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15',
  undo: 'M8 5L4 9l4 4M4 9h10a5 5 0 0 1 0 10H9',
  export: 'M12 15V4M8 8l4-4 4 4M5 14v6h14v-6',
  import: 'M12 4v11M8 11l4 4 4-4M5 14v6h14v-6',
  history: 'M12 7v5.5l3.5 2M4 12a8 8 0 1 0 2.5-5.8L4 8.5M4 4v4.5h4.5',
  shield: 'M12 3.5 19 6v6c0 4.5-3 7.5-7 8.5-4-1-7-4-7-8.5V6z',
} as const;

export type IconName = keyof typeof paths;

/** Hidden from screen readers: what it says stands beside it, or in its button's label. */
export function Icon({ name, size = 22 }: { name: IconName; size?: number }) {
  return (
    <svg
      class={`icon icon-${name}`}
      viewBox="0 0 24 24"
      width={size}
      height={size}
      aria-hidden="true"
      focusable="false"
    >
      <path d={paths[name]} />
    </svg>
  );
}

interface PageProps {
  title: string;
  /** In the browser's tab, instead of the title. */
  tab?: string;
  /** Where the arrow beside the title leads. */
  back?: string;
  backLabel?: string;
  actions?: ComponentChildren;
  children: ComponentChildren;
  wide?: boolean;
  /** The page fills the window and scrolls inside. */
  full?: boolean;
}

/** The frame of a screen. Coming to it moves the focus to its title, so that a screen reader begins there. */
export function Page({ title, tab, back, backLabel = t('Back'), actions, children, wide, full }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { job } = useServer();
  const share = job?.state === 'running' && job.share !== undefined ? `${job.share}% · ` : '';
  useEffect(() => {
    document.title = `${tab ?? share + title} · Loam`;
  }, [title, tab, share]);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    if (!full) scrollTo(0, 0);
  }, []);
  return (
    <main id="main" class={['page', wide && 'wide', full && 'full'].filter(Boolean).join(' ')}>
      <header class="page-head">
        {back && (
          <a class="icon-button" href={back} aria-label={backLabel}>
            <Icon name="back" />
          </a>
        )}
        <h1 class="clamp" tabIndex={-1} ref={heading}>
          {title}
        </h1>
        {actions && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </main>
  );
}

/** For a list that is still empty: a bare layer of soil, a sentence, and the next step. */
export function Empty({ title, children, sprout }: { title: string; children: ComponentChildren; sprout?: boolean }) {
  return (
    <section class="empty">
      <Soil sprout={sprout} />
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export function Soil({ sprout }: { sprout?: boolean }) {
  return (
    <svg class="soil" viewBox="0 0 240 96" preserveAspectRatio="xMidYMax meet" aria-hidden="true" focusable="false">
      {sprout && (
        <g>
          <path class="leaf" d="M120 40a34 34 0 0 1-36-22 34 34 0 0 1 36 22z" />
          <path class="leaf" d="M120 32a36 36 0 0 1 34-26 36 36 0 0 1-34 26z" />
          <path class="stem" d="M120 30v30" />
        </g>
      )}
      <path class="a" d="M-900 58H0c30-7 52 4 88 1s56-8 88-3 46 5 64 1h900v39H-900z" />
      <path class="b" d="M-900 72H0c36 5 58-5 96-2s66 6 92 1 38-3 52 0h900v25H-900z" />
      <path class="c" d="M-900 86H0c32-4 60 3 100 1s70-4 140 0h900v11H-900z" />
    </svg>
  );
}

/** What went wrong. Read out at once. */
export function Fault({ error, onRetry }: { error: Error | undefined; onRetry?: () => void }) {
  if (!error) return null;
  const { text, detail } = sayFault(error);
  return (
    <div class="note bad" role="alert">
      <Icon name="warn" />
      <div>
        <p>{text}</p>
        <Detail text={detail} />
        {onRetry && (
          <button type="button" class="link" onClick={onRetry}>
            {t('Try again')}
          </button>
        )}
      </div>
    </div>
  );
}

/** The server's own sentence, behind words in another language. */
export function Detail({ text }: { text: string | undefined }) {
  if (text === undefined) return null;
  return (
    <details class="detail">
      <summary>{t('More, in English')}</summary>
      <p lang="en">{text}</p>
    </details>
  );
}

/** Shown only if it takes a while: on loopback most answers arrive before anyone could read it. */
export function Loading({ what = t('Loading') }: { what?: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 250);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="loading" role="status">
      {late ? `${what}…` : ''}
    </p>
  );
}

/** Stands in for what is being loaded: that it takes a while, or why it failed. Nothing once it has arrived. */
export function Pending({ of, what }: { of: Pick<Resource<unknown>, 'data' | 'error' | 'reload'>[]; what?: string }) {
  const error = of.find((resource) => resource.error)?.error;
  const retry = () => {
    for (const resource of of) void resource.reload();
  };
  if (error) return <Fault error={error} onRetry={retry} />;
  return of.every(({ data }) => data !== undefined) ? null : <Loading what={what} />;
}

/** Progress of something: a share from 0 to 1, or unknown. */
export function Bar({ share, label }: { share?: number; label: string }) {
  const percent = share === undefined ? undefined : Math.round(100 * Math.min(1, Math.max(0, share)));
  return (
    <div
      class={percent === undefined ? 'bar moving' : 'bar'}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    >
      <div class="bar-fill" style={{ width: percent === undefined ? '35%' : `${percent}%` }} />
    </div>
  );
}

interface CardProps {
  /** Where it leads. */
  to: string;
  title: string;
  about: ComponentChildren;
  /** Chips. */
  children: ComponentChildren;
}

/** One of a list of things that have screens of their own. */
export function Card({ to, title, about, children }: CardProps) {
  return (
    <li>
      <a class="card" href={to}>
        <span class="card-title clamp">{title}</span>
        <span class="quiet">{about}</span>
        <span class="chips">{children}</span>
        <Icon name="next" />
      </a>
    </li>
  );
}

/** A name and its value, of a list of them (`dl`). */
export function Entry({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
