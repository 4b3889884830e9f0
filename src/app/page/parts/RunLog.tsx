import { useEffect, useRef } from 'preact/hooks';
import type { RunView } from '../../logic/runView.js';

export function RunLog({ log }: { log: RunView['log'] }) {
  const end = useRef<HTMLDivElement>(null);
  // Follows the newest line, unless the person has scrolled away from it.
  useEffect(() => {
    const list = end.current;
    if (list && list.scrollHeight - list.scrollTop - list.clientHeight < 80) list.scrollTop = list.scrollHeight;
  }, [log]);
  return (
    <details class="fold">
      <summary>Log</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <div ref={end} class="log" role="log" aria-label="Log of the run" aria-live="off" tabIndex={0}>
        {log.map(({ text }, i) => (
          <p key={i}>{text}</p>
        ))}
      </div>
    </details>
  );
}
