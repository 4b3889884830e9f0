import type { TuneEvent, TuneResult } from '../tune/events.js';
import { bytes, count, duration } from '../util/format.js';
import type { Output } from './output.js';

/** Problems printed one by one; the rest is counted. --json prints all. */
const problemsShown = 12;

/** Consumes a tuning run: shows its events to people and programs, returns its result. */
export async function showTune(run: AsyncGenerator<TuneEvent, TuneResult, void>, output: Output): Promise<TuneResult> {
  let problems = 0;
  for (;;) {
    const { done, value } = await run.next();
    if (done) return value;
    output.event(value);
    switch (value.type) {
      case 'model':
        output.line(
          `model: ${value.name || value.path} (${value.architecture}, ${value.layers} layers, ${count(value.parameters)} weights)`,
        );
        break;
      case 'problem':
        problems++;
        if (problems <= problemsShown) {
          const { line, severity, reason } = value.problem;
          output.line(`${severity === 'error' ? 'left out' : 'note'}: ${value.file}, line ${count(line)}: ${reason}`);
        } else if (problems === problemsShown + 1) {
          output.line('further remarks on records are not shown; `loam data` lists them all');
        }
        break;
      case 'warning':
        output.line(`note: ${value.message}`);
        break;
      case 'data': {
        const held = value.heldout > 0 ? `, ${count(value.heldout)} held out` : '';
        output.line(
          `data: ${count(value.train)} examples to learn from (${count(value.tokens)} response tokens), ${count(value.validation)} to validate${held}`,
        );
        break;
      }
      case 'stage':
        output.line(value.message);
        break;
      case 'progress':
        output.progress(progressLabels[value.stage], value.done, value.total);
        break;
      case 'fitted':
        break;
      case 'sweep':
        break;
    }
  }
}

const progressLabels = { hash: 'hashing the model', ridge: 'tuning', measure: 'measuring' } as const;

const measuredNames = {
  heldout: 'held-out examples',
  validation: 'validation examples (not learnt from)',
  train: 'the training examples themselves (too few to hold any out)',
} as const;

/** The closing lines for people. */
export function showResult(result: TuneResult, output: Output): void {
  const { base, adapted, teacher } = result.nll;
  const drop = (100 * (base - adapted)) / base;
  output.line();
  output.line(
    `NLL a response token on ${measuredNames[result.measuredOn]} (${count(result.tokens)} tokens), measured in llama.cpp:`,
  );
  output.line(`  base model    ${base.toFixed(3)}`);
  output.line(`  with adapter  ${adapted.toFixed(3)}   (${drop.toFixed(0)} % less)`);
  if (teacher !== undefined && Number.isFinite(teacher)) {
    output.line(
      `  its teacher   ${teacher.toFixed(3)}   (base model with your examples in its context; by Loam's own forward pass)`,
    );
  }
  output.line(`adapter: ${result.adapter} (${bytes(result.bytes)})`);
  output.line(`took ${duration(result.seconds)}, at most ${bytes(result.peakRssBytes)} of memory`);
}
