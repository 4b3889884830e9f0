/** Milliseconds between two events of progress. */
const interval = 200;

/** Hands on the events of a fit, those of progress named after their stage and at most five a second, the last in any case. */
export function thinProgress<S extends string, E extends { type: string }>(
  stage: S,
  emit: (event: E | { type: 'progress'; stage: S; done: number; total: number }) => void,
): (event: E | { type: 'progress'; done: number; total: number }) => void {
  let last = 0;
  return (event) => {
    if (!('done' in event)) {
      emit(event);
      return;
    }
    const now = performance.now();
    if (now - last < interval && event.done < event.total) return;
    last = now;
    emit({ ...event, stage });
  };
}
