import http, { type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import https from 'node:https';
import { StoppedError } from '../util/errors.js';
import { AnswerBody, type Patience, stalled } from './AnswerBody.js';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: AnswerBody;
}

/**
 * Sends a GET and resolves with the answer once its headers are here, whatever the status; redirects are the caller's to
 * follow. Node's `http` rather than `fetch`, which adds headers of its own and hides slow bodies. It does not go through a
 * proxy by itself: on Node 24 and later NODE_USE_ENV_PROXY=1 makes it obey HTTPS_PROXY.
 * Rejects with socket errors, SourceError after a silence of `stallMs`, StoppedError.
 */
export function httpGet(url: URL, headers: Record<string, string>, patience: Patience): Promise<HttpAnswer> {
  const { signal, stallMs } = patience;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new StoppedError());
      return;
    }
    // Node gives each address of a host 250 ms to answer, less than a mobile network may need.
    const options: RequestOptions & { autoSelectFamilyAttemptTimeout: number } = {
      headers: { ...headers, connection: 'close' },
      agent: false,
      autoSelectFamilyAttemptTimeout: 2500,
    };
    const request = url.protocol === 'https:' ? https.get(url, options) : http.get(url, options);
    const timer = setTimeout(() => request.destroy(stalled(url.host, stallMs)), stallMs);
    const stop = () => request.destroy(new StoppedError());
    signal?.addEventListener('abort', stop, { once: true });
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    };
    request.once('response', (response) => {
      settle();
      const body = new AnswerBody(response, url.host);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
    request.on('error', (error) => {
      settle();
      reject(error);
    });
  });
}
