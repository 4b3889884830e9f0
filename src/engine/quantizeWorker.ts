import { endWithParent, packError } from '../base/process.js';
import { callAsync } from './ffi.js';
import { native } from './native.js';
import type { QuantizeReport, QuantizeRequest } from './quantize.js';

/** A process that quantises one model and ends. */

/** Bytes of rows that are in memory as f32 at a time: the largest embedding tables would otherwise take gigabytes. */
const BUFFER_BYTES = 64 * 1024 * 1024;

async function quantise({ input, output, type, threads, pure, importance }: QuantizeRequest): Promise<number> {
  const { llama } = native();
  const params = llama.quantizeDefaultParams();
  params.nthread = threads;
  params.ftype = type;
  params.allow_requantize = true;
  params.pure = pure;
  params.max_buf_size = BUFFER_BYTES;
  if (importance) {
    const entries = [...importance].map(([name, data]) => ({ name, data, size: data.length }));
    // The list ends with an entry without a name.
    params.imatrix = [...entries, { name: null, data: null, size: 0 }];
  }
  return await callAsync(llama.modelQuantize, input, output, params);
}

endWithParent();
process.once('message', (request: QuantizeRequest) => {
  const tell = (report: QuantizeReport) => process.send!(report, undefined, undefined, () => {});
  void quantise(request).then(
    (status) => tell({ status }),
    (error: unknown) => tell({ error: packError(error) }),
  );
});
