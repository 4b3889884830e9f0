import Type from 'typebox';
import { type TuneOptions, tuneOptions } from '../../tune/options.js';
import type { Option } from '../../util/options.js';
import { openapi } from '../openapi.js';
import { routesOf } from '../route.js';
import type { Services } from '../Services.js';
import { Free } from '../schemas.js';

const route = routesOf<Services>();

/** What the server decides by itself: where a run reads and writes. */
const own = [
  'model',
  'out',
  'heldout',
  'teacher',
  'start',
  'resume',
  'restart',
  'report',
] as const satisfies readonly (keyof TuneOptions)[];

/** Options of tuning that a job may be given. */
export const jobOptions: Readonly<Record<string, Option>> = Object.fromEntries(
  Object.entries(tuneOptions).filter(([name]) => !(own as readonly string[]).includes(name)),
);

export const optionRoutes = [
  route({
    method: 'GET',
    path: '/api/options',
    summary: 'Options of tuning as they are declared: a form derives from them.',
    response: Type.Object({ options: Type.Array(Free) }),
    async handler() {
      return { options: Object.entries(jobOptions).map(([name, option]) => ({ name, ...option })) };
    },
  }),
];

/** The description of a list of routes, itself among them. */
export function openapiRoute(routes: () => Parameters<typeof openapi<Services>>[0]) {
  return route({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This description.',
    response: Free,
    async handler() {
      return openapi(routes());
    },
  });
}
