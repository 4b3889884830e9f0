import { LoamError } from '../util/errors.js';
import { SourceError } from './SourceError.js';

/** What a person can understand and do about the codes of Node's sockets and of TLS. */
const SENTENCES: Record<string, { found: (host: string) => string; fix: string; offline?: true }> = {
  ENOTFOUND: {
    found: (host) => `the name ${host} could not be looked up`,
    fix: 'connect to a network, or use one that reaches this host',
    offline: true,
  },
  EAI_AGAIN: {
    found: (host) => `the name ${host} could not be looked up just now`,
    fix: 'check the connection',
  },
  ECONNREFUSED: {
    found: (host) => `${host} refused the connection`,
    fix: 'check HF_ENDPOINT if it is set, or try another network',
    offline: true,
  },
  ENETUNREACH: { found: (host) => `no route to ${host}`, fix: 'connect to a network', offline: true },
  EHOSTUNREACH: { found: (host) => `no route to ${host}`, fix: 'connect to a network', offline: true },
  ECONNRESET: {
    found: (host) => `${host} closed the connection midway`,
    fix: 'check the connection',
  },
  EPIPE: { found: (host) => `${host} closed the connection midway`, fix: 'check the connection' },
  ETIMEDOUT: { found: (host) => `${host} did not answer`, fix: 'check the connection' },
};

/**
 * Any error of a request as a SourceError with the host's name (never the address: a signed one grants access); errors that
 * are Loam's own, a stop or a full disk among them, pass through.
 */
export function explainNetworkError(error: unknown, host: string): LoamError {
  if (error instanceof LoamError) return error;
  const { code = '', message = String(error) } = error as NodeJS.ErrnoException;
  const known = SENTENCES[code];
  if (known !== undefined) {
    return new SourceError(
      { found: known.found(host), fix: known.fix },
      { transient: known.offline !== true, offline: known.offline === true, cause: error },
    );
  }
  if (/CERT|SELF_SIGNED|VERIFY|ISSUER|ERR_TLS|ERR_SSL|EPROTO/.test(code)) {
    return new SourceError(
      {
        found: `no trustworthy connection to ${host} (${code})`,
        fix: "check the device's date; a network that inspects traffic needs its certificate in NODE_EXTRA_CA_CERTS",
      },
      { cause: error },
    );
  }
  return new SourceError(
    { found: `the connection to ${host} failed (${code || message})`, fix: 'check the connection' },
    // Codes of the system and of the HTTP parser; those of Node itself (ERR_) are mistakes that recur.
    { transient: /^(E(?!RR_)|HPE_)/.test(code), cause: error },
  );
}
