import { placeOf } from '../data/placeOf.js';
import type { PipelineEvent } from '../pipeline/events.js';
import type { TuneResult } from '../tune/events.js';
import { bytes, count, duration } from '../util/format.js';
import type { Output } from './output.js';

/** Problems printed one by one; the rest is counted. --json prints all. */
const problemsShown = 12;

/** Consumes a tuning run, or a step of the pipeline: shows its events to people and programs, returns its result. */
export async function showTune<R>(run: AsyncGenerator<PipelineEvent, R, void>, output: Output): Promise<R> {
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
          const { severity, reason } = value.problem;
          output.line(
            `${severity === 'error' ? 'left out' : 'note'}: ${value.file}, ${placeOf(value.problem)}: ${reason}`,
          );
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
      case 'size':
        output.line(
          `${count(value.rows)} rows of ${count(value.linears)} linears: ${bytes(value.bytes)} will be written`,
        );
        break;
      case 'quote':
        showQuote(value, output);
        break;
      case 'resumed':
        output.line(`going on from step ${count(value.step)} of the run that was stopped`);
        break;
      case 'validation':
        output.line(
          `epoch ${value.epoch.toFixed(2)}, step ${count(value.step)}: validation NLL ${value.nll.toFixed(3)}${value.best ? '' : ' (not better)'}`,
        );
        break;
      case 'restart':
        output.line('ridge is ahead of that: training begins again from where it ended');
        break;
      case 'run':
        output.line(`run ${value.run} of ${value.runs}, of ${count(value.steps)} steps: the mean of all is kept`);
        break;
      case 'step':
      case 'diverged':
      case 'fitted':
      case 'sweep':
        break;
    }
  }
}

function showQuote(quote: Extract<PipelineEvent, { type: 'quote' }>, output: Output): void {
  const price = (q: Omit<typeof quote, 'type' | 'availableBytes' | 'cheaper'>) => {
    const disk = q.diskBytes > 0 ? `, ${bytes(q.diskBytes)} of disk while it runs` : '';
    return `about ${duration(q.seconds)}, ${bytes(q.memoryBytes)} of memory${disk}`;
  };
  output.line(`training ${quote.layers} layers will take at most ${price(quote)}; validation may end it earlier`);
  for (const other of quote.cheaper) output.line(`  with --layers top:${other.layers}: ${price(other)}`);
}

const progressLabels = {
  hash: 'hashing the model',
  embed: 'computing activations',
  ridge: 'fitting',
  qlora: 'training',
  measure: 'measuring',
  answers: 'answering',
} as const;

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
  if (result.method === 'ridge' && teacher !== undefined && Number.isFinite(teacher)) {
    output.line(
      `  its teacher   ${teacher.toFixed(3)}   (base model with your examples in its context; by Loam's own forward pass)`,
    );
  }
  output.line(`adapter: ${result.adapter} (${bytes(result.bytes)})`);
  if (result.quote) {
    const { quoted, truth } = result.quote;
    output.line(
      `training took ${duration(truth.seconds)} (quoted: ${duration(quoted.seconds)}) and ${bytes(truth.memoryBytes)} of memory (quoted: ${bytes(quoted.memoryBytes)})`,
    );
  }
  output.line(`took ${duration(result.seconds)}, at most ${bytes(result.peakRssBytes)} of memory`);
}
