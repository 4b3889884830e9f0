import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { curveShape } from '../../logic/curveShape.js';
import type { Point } from '../../logic/runView.js';

interface Props {
  train: readonly Point[];
  validation: readonly Point[];
  steps?: number;
}

const HEIGHT = 220;

/** The loss of a run as it falls, drawn as ground: what lies below the line is soil. */
export function Curve({ train, validation, steps }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(320);
  const id = useId();
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(220, Math.round(entry!.contentRect.width))));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const shape = curveShape({ train, validation, steps }, { width, height: HEIGHT });
  return (
    <figure class="curve">
      <div ref={box}>
        {shape ? (
          <svg
            viewBox={`0 0 ${width} ${HEIGHT}`}
            width={width}
            height={HEIGHT}
            role="img"
            aria-labelledby={`${id}-t ${id}-d`}
          >
            <title id={`${id}-t`}>Loss over the steps</title>
            <desc id={`${id}-d`}>{describe(train, validation)}</desc>
            {shape.y.map(({ place, label }) => (
              <g key={label}>
                <line class="grid" x1="38" x2={width - 8} y1={place} y2={place} />
                <text class="tick" x="32" y={place} dy="0.32em" text-anchor="end">
                  {label}
                </text>
              </g>
            ))}
            {shape.x.map(({ place, label }) => (
              <text
                key={label}
                class="tick"
                x={Math.min(place, width - 4 - label.length * 3.5)}
                y={HEIGHT - 5}
                text-anchor="middle"
              >
                {label}
              </text>
            ))}
            <defs>
              <linearGradient id={`${id}-soil`} x1="0" y1="0" x2="0" y2="1">
                <stop class="soil-1" offset="0" />
                <stop class="soil-2" offset="0.55" />
                <stop class="soil-3" offset="1" />
              </linearGradient>
            </defs>
            <path class="area" d={shape.area} fill={`url(#${id}-soil)`} />
            <path class="raw" d={shape.raw} />
            <path class="smooth" d={shape.smooth} />
            <path class="checked" d={shape.validation} />
            {shape.validationPoints.map(({ x, y }) => (
              <circle key={x} class="checked-dot" cx={x} cy={y} r="3.2" />
            ))}
            {shape.best && (
              <g>
                <circle class="best-ring" cx={shape.best.x} cy={shape.best.y} r="6.5" />
                <text
                  class="best-label"
                  x={shape.best.x + (shape.best.x > width / 2 ? -10 : 10)}
                  y={shape.best.y > 40 ? shape.best.y - 10 : shape.best.y + 22}
                  text-anchor={shape.best.x > width / 2 ? 'end' : 'start'}
                >
                  {`best ${shape.best.value.toFixed(3)}`}
                </text>
              </g>
            )}
          </svg>
        ) : (
          <div class="curve-empty">The curve begins with the first step.</div>
        )}
      </div>
      <figcaption>
        <span class="key key-train">loss on your examples</span>
        <span class="key key-checked">loss on examples kept aside</span>
      </figcaption>
    </figure>
  );
}

function describe(train: readonly Point[], validation: readonly Point[]): string {
  const parts: string[] = [];
  if (train.length > 0) {
    parts.push(`Loss on your examples from ${train[0]!.y.toFixed(2)} to ${train.at(-1)!.y.toFixed(2)}.`);
  }
  if (validation.length > 0) {
    const best = Math.min(...validation.map(({ y }) => y));
    parts.push(`On examples kept aside, the best so far is ${best.toFixed(3)}.`);
  }
  return parts.join(' ');
}
