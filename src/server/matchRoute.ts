import { HttpError } from './HttpError.js';
import type { AnyRoute } from './route.js';

/** Longest value of a path parameter: ids and names, no texts. */
const MAX_PARAMETER = 256;
/** Rank of a route that takes whatever is left. */
const CATCH_ALL = -100;

export interface Match<Context> {
  route: AnyRoute<Context>;
  params: Record<string, string>;
}

/**
 * Finds the route of a method and a path without its query. Fixed parts go before parameters.
 * @throws HttpError 404, 405 with Allow, 400 for a path that is not valid percent-encoded UTF-8
 */
export function matchRoute<Context>(
  routes: readonly AnyRoute<Context>[],
  method: string,
  path: string,
): Match<Context> {
  const parts = path.split('/').slice(1).map(decode);
  const allowed = new Set<string>();
  let best: (Match<Context> & { fixed: number }) | undefined;
  for (const route of routes) {
    const params = fit(route.path.split('/').slice(1), parts);
    if (!params) continue;
    const takesAll = route.path.endsWith('...}');
    // What takes every address says nothing of one that others have.
    if (!takesAll) {
      allowed.add(route.method);
      if (route.method === 'GET') allowed.add('HEAD');
    }
    const fits = route.method === method || (method === 'HEAD' && route.method === 'GET');
    const fixed = (takesAll ? CATCH_ALL : 0) - Object.keys(params).length;
    if (fits && (!best || fixed > best.fixed)) best = { route, params, fixed };
  }
  if (best && (best.fixed > CATCH_ALL || allowed.size === 0)) return best;
  if (allowed.size === 0) throw new HttpError(404, 'there is nothing at this address');
  const list = [...allowed].join(', ');
  throw new HttpError(405, `this address takes ${list}`, undefined, { allow: list });
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new HttpError(400, 'the address is not valid percent-encoded UTF-8');
  }
}

function fit(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  // No prototype: a parameter may have any name.
  const params: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [i, piece] of pattern.entries()) {
    const name = /^\{(\w+)(\.\.\.)?\}$/.exec(piece);
    if (!name) {
      if (parts[i] !== piece) return undefined;
      continue;
    }
    if (name[2]) {
      params[name[1]!] = parts.slice(i).join('/');
      return params;
    }
    const value = parts[i];
    if (!value || value.length > MAX_PARAMETER) return undefined;
    params[name[1]!] = value;
  }
  return pattern.length === parts.length ? params : undefined;
}
