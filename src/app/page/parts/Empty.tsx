import type { ComponentChildren } from 'preact';

/** What stands where there is nothing yet: a bare layer of soil, a sentence, and the way on. */
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
        <g class="soil-sprout">
          <path class="leaf" d="M120 40a34 34 0 0 1-36-22 34 34 0 0 1 36 22z" />
          <path class="leaf" d="M120 32a36 36 0 0 1 34-26 36 36 0 0 1-34 26z" />
          <path class="stem" d="M120 30v30" />
        </g>
      )}
      <path class="layer a" d="M-900 58H0c30-7 52 4 88 1s56-8 88-3 46 5 64 1h900v39H-900z" />
      <path class="layer b" d="M-900 72H0c36 5 58-5 96-2s66 6 92 1 38-3 52 0h900v25H-900z" />
      <path class="layer c" d="M-900 86H0c32-4 60 3 100 1s70-4 140 0h900v11H-900z" />
    </svg>
  );
}
