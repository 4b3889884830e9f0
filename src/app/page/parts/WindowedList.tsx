import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { visibleRange } from '../../logic/curve.js';

interface Props {
  rows: number;
  rowHeight: number;
  label: string;
  /** Called with the rows that are about to be seen. */
  onRange: (from: number, to: number) => void;
  render: (row: number) => ComponentChildren;
}

/** A long list of which only the rows in view are in the document. It scrolls with the page. */
export function WindowedList({ rows, rowHeight, label, onRange, render }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const [range, setRange] = useState({ from: 0, to: Math.min(rows, 20) });
  useEffect(() => {
    const look = () => {
      // An effect may run, and a scroll arrive, after the list has left the page.
      if (!list.current) return;
      const top = -list.current.getBoundingClientRect().top;
      const next = visibleRange({ top, height: innerHeight }, { rows, rowHeight });
      setRange((old) => (old.from === next.from && old.to === next.to ? old : next));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [rows, rowHeight]);
  useEffect(() => onRange(range.from, range.to), [range, rows]);
  const shown = Array.from({ length: Math.max(0, Math.min(range.to, rows) - range.from) }, (_, i) => range.from + i);
  return (
    <ol ref={list} class="windowed" aria-label={label} style={{ height: `${rows * rowHeight}px` }}>
      {shown.map((row) => (
        <li
          key={row}
          style={{ top: `${row * rowHeight}px`, height: `${rowHeight}px` }}
          aria-setsize={rows}
          aria-posinset={row + 1}
        >
          {render(row)}
        </li>
      ))}
    </ol>
  );
}
