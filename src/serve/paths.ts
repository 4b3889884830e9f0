import { isAbsolute } from 'node:path';
import { type ErrorCode, type Fault, LoamError } from '../base/errors.js';
import { loamHome } from '../base/process.js';

/**
 * What the server says goes to pages on other devices and to programs with a key, which have no use for its paths and should not learn
 * them: they name the user, and folders that are nobody's business. A path below LOAM_HOME is told from there, any other by its last part.
 */

/** Addresses of the API are no paths. */
const path = /(?<![\w/.:~@-])(?!\/(?:v1|api)\/)(?:[A-Za-z]:)?[\\/](?:[^\s\\/"'`;,]+[\\/])+[^\s\\/"'`:;,]*/g;

/** One in quotation marks may have spaces. */
const quoted = /"(?:[A-Za-z]:)?[\\/][^"]+"/g;

export function withoutPaths(text: string): string {
  return text
    .replaceAll(loamHome(), 'LOAM_HOME')
    .replace(quoted, (found) => (/^"\/(v1|api)\//.test(found) ? found : `"${lastOf(found.slice(1, -1))}"`))
    .replace(path, (found) => lastOf(found));
}

function lastOf(found: string): string {
  return found.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, '');
}

/** What ended work in the background, for whoever asks later; without a code it is a bug. */
export function failureOf(error: unknown): { message: string; code?: ErrorCode } {
  if (!(error instanceof LoamError)) return { message: 'An unexpected error, which is a bug in Loam.' };
  return { message: withoutPaths(error.message), code: error.code };
}

/** The same refusal for somebody else. */
export function faultWithoutPaths(error: LoamError): LoamError {
  const { where } = error.fault;
  // Here it is known that all of it is a path, whatever characters it has.
  const known = where !== undefined && isAbsolute(where) && !where.startsWith(loamHome()) ? where : undefined;
  const tell = (text: string) => withoutPaths(known === undefined ? text : text.replaceAll(known, lastOf(known)));
  const told = Object.fromEntries(
    Object.entries(error.fault).map(([name, text]) => [name, typeof text === 'string' ? tell(text) : text]),
  );
  return new LoamError(told as unknown as Fault, { cause: error });
}
