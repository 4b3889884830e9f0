import type { QloraState } from './settings.js';

/** Figures of the state besides its arrays; kept as text, because JSON has no NaN and no infinity. */
const figures = [
  'step',
  'first',
  'validated',
  'stale',
  'rateFactor',
  'since',
  'smoothed',
  'lowest',
  'seconds',
  'run',
  'runs',
  'begun',
  'offset',
] as const;
const parameterArrays = ['a', 'b', 'firstA', 'firstB', 'secondA', 'secondB', 'averageA', 'averageB'] as const;

/** How the flat values lie: all A in rows of inputs, all B in rows of outputs. Another layout can't be gone on with. */
const layout = 'rows of inputs, rows of outputs';

/** A state as a checkpoint's header and arrays. */
export function packState(state: QloraState): { header: Record<string, string>; arrays: Map<string, Float32Array> } {
  const header: Record<string, string> = {
    layout,
    bestStep: String(state.best.step),
    bestValidation: String(state.best.validation),
    finished: String(state.finished.length),
    alternative: String(state.alternative !== undefined),
    fromAlternative: String(state.fromAlternative),
  };
  if (state.ended) header.ended = state.ended;
  for (const name of figures) header[name] = String(state[name]);
  const arrays = new Map<string, Float32Array>(parameterArrays.map((name) => [name, state.parameters[name]]));
  arrays.set('bestA', state.best.a);
  arrays.set('bestB', state.best.b);
  if (state.alternative) {
    arrays.set('alternativeA', state.alternative.a);
    arrays.set('alternativeB', state.alternative.b);
  }
  state.finished.forEach(({ a, b }, run) => {
    arrays.set(`finished${run}A`, a);
    arrays.set(`finished${run}B`, b);
  });
  return { header, arrays };
}

/** The state of a checkpoint, bit for bit; undefined where something is missing (a checkpoint of another version). */
export function unpackState(
  header: Readonly<Record<string, unknown>>,
  arrays: ReadonlyMap<string, Float32Array>,
): QloraState | undefined {
  const array = (name: string) => arrays.get(name);
  const figure = (name: string) => (typeof header[name] === 'string' ? Number(header[name]) : undefined);
  const known = [...figures, 'bestStep', 'bestValidation', 'finished'].every((name) => figure(name) !== undefined);
  const runs = Array.from({ length: figure('finished') ?? 0 }, (_, run) => `finished${run}`);
  const alternative = header.alternative === 'true';
  const pairs = ['best', ...(alternative ? ['alternative'] : []), ...runs];
  const all = [...parameterArrays, ...pairs.flatMap((name) => [`${name}A`, `${name}B`])].every(array);
  if (!all || !known || header.layout !== layout) return undefined;
  return {
    ...(Object.fromEntries(figures.map((name) => [name, figure(name)!])) as Record<(typeof figures)[number], number>),
    parameters: Object.fromEntries(
      parameterArrays.map((name) => [name, array(name)!]),
    ) as unknown as QloraState['parameters'],
    best: {
      step: figure('bestStep')!,
      validation: figure('bestValidation')!,
      a: array('bestA')!,
      b: array('bestB')!,
    },
    alternative: alternative ? { a: array('alternativeA')!, b: array('alternativeB')! } : undefined,
    fromAlternative: header.fromAlternative === 'true',
    ended: header.ended as QloraState['ended'],
    finished: runs.map((run) => ({ a: array(`${run}A`)!, b: array(`${run}B`)! })),
  };
}
