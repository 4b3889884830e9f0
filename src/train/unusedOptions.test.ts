import assert from 'node:assert/strict';
import { it } from 'node:test';
import { defaults } from '../base/options.js';
import { foreignFamily } from '../families/foreign.js';
import { llama } from '../families/llama.js';
import type { OpenedRun } from './lab.js';
import { type TuneOptions, tuneOptions } from './options.js';
import { tellUnused } from './unusedOptions.js';

function told(options: Partial<TuneOptions>, family = llama): string {
  const warnings: string[] = [];
  const run = {
    model: { hyper: { family } },
    emit: (event: { type: string; message?: string }) => warnings.push(event.message!),
  } as unknown as OpenedRun;
  tellUnused(run, { ...defaults(tuneOptions), ...options } as TuneOptions);
  return warnings.join();
}

it('tells of options that a method has no use for, and of no others', () => {
  for (const method of ['ridge', 'qlora', 'auto'] as const) assert.equal(told({ method, rank: 4, alpha: 8 }), '');
  assert.match(
    told({ method: 'ridge', lr: 0.1, epochs: 3, rsLora: true, memory: 400 }),
    /^ridge has no use for --memory, --epochs, --lr, --rs-lora:/,
  );
  assert.match(
    told({ method: 'qlora', shots: 0, sweeps: 2 }),
    /^training by gradients has no use for --shots, --sweeps:/,
  );
  assert.match(told({ method: 'auto', start: 'a.gguf', teacher: 'b.gguf' }), /no use for --teacher:/);
  assert.match(told({ method: 'auto', patience: 4 }, foreignFamily('olmo2')), /^ridge has no use for --patience:/);
  assert.equal(told({ method: 'ridge', teacher: 'a.gguf', shots: 2, patience: 1 }), '');
});

it('refuses an adapter that would not be used', () => {
  assert.throws(
    () => told({ method: 'ridge', start: 'a.gguf' }),
    /--start: .*use --method qlora or auto, or leave it out/,
  );
  assert.throws(() => told({ method: 'ridge', start: 'a.gguf' }, foreignFamily('olmo2')), /; leave it out\.$/);
  assert.throws(() => told({ method: 'qlora', teacher: 'a.gguf' }), /--teacher: .*--method ridge or auto/);
});
