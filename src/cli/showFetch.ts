import type { FetchEvent, FetchedModel } from '../catalog/types.js';
import { LoamError } from '../util/errors.js';
import { duration } from '../util/format.js';
import type { Output } from './output.js';

/** Consumes a download: shows its events, returns what was fetched. */
export async function showFetch(run: AsyncGenerator<FetchEvent, FetchedModel>, output: Output): Promise<FetchedModel> {
  for (;;) {
    const { done, value } = await run.next();
    if (done) {
      if (value === undefined) throw new LoamError({ found: 'the download ended without a file' });
      return value;
    }
    output.event(value);
    switch (value.type) {
      case 'source':
        output.line(`fetching from ${value.source}`);
        break;
      case 'source-failed':
        output.line(`that did not work: ${value.reason}`);
        break;
      case 'retry':
        output.line(`${value.reason}; trying again in ${duration(value.seconds)} (${value.attempt} of ${value.of})`);
        break;
      case 'waiting':
        output.line('another Loam is fetching this model; waiting for it');
        break;
      case 'progress':
        output.progress(value.stage === 'download' ? 'downloading' : 'unpacking', value.done, value.total);
        break;
      case 'checking':
        output.progress('checking', value.done, value.total);
        break;
      case 'done':
        break;
    }
  }
}
