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
