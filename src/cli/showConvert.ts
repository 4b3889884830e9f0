import type { ConvertEvent, Converted } from '../convert/events.js';
import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import type { Output } from './output.js';

/** Consumes a conversion: shows its events, returns what was written. */
export async function showConvert(run: AsyncGenerator<ConvertEvent, Converted>, output: Output): Promise<Converted> {
  for (;;) {
    const { done, value } = await run.next();
    if (done) {
      if (value === undefined) throw new LoamError({ found: 'the conversion ended without a file' });
      return value;
    }
    output.event(value);
    switch (value.type) {
      case 'model':
        output.line(
          `${value.architecture}, ${count(value.layers)} layers, ${count(value.weights)} weights (${value.from}), ${count(value.vocabulary)} tokens`,
        );
        break;
      case 'note':
        output.line(`note: ${value.text}`);
        break;
      case 'progress':
        output.progress('converting', value.done, value.total);
        break;
      case 'quantise':
        output.line(`quantising to ${value.to} in llama.cpp ...`);
        break;
    }
  }
}
