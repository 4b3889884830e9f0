import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Icon } from './Icon.js';

interface Props {
  title: string;
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
export function Page({ title, back, backLabel = 'Back', actions, children, wide, full }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Loam`;
  }, [title]);
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
        <h1 tabIndex={-1} ref={heading}>
          {title}
        </h1>
        {actions && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </main>
  );
}
