import { waitsBecause } from '../base/device/rules.js';
import { sentence } from '../base/errors.js';
import type { Run } from '../base/events.js';
import { bytes, count, duration } from '../base/format.js';
import { hashFile } from '../base/io.js';
import { describeLoss, type General, lossAdvice, lossOf } from '../base/lost.js';
import { placeOf } from '../examples/example.js';
import type { Finding, FindingKind } from '../examples/personal/finding.js';
import { summarise } from '../examples/personal/findPersonal.js';
import type { Verdict } from '../llama/memorised/report.js';
import { DEFAULT_MODEL } from '../models/catalogue.js';
import type { ConvertEvent, Converted } from '../models/convert/convertModel.js';
import type { FetchEvent, FetchedModel } from '../models/download.js';
import type { TuneResult } from '../train/events.js';
import type { PipelineEvent } from '../train/steps/options.js';
import { type Output, quoted } from './output.js';

/** What names a model in a command line that is shown; nothing where it is the default. */
export const modelFlag = (model: string): string => (model === DEFAULT_MODEL ? '' : ` --model ${quoted(model)}`);

/** Consumes a conversion: shows its events, returns what was written. */
export async function showConvert(run: Run<ConvertEvent, Converted>, output: Output): Promise<Converted> {
  for await (const value of run) {
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
  return await run.result;
}

/** Consumes a download: shows its events, returns what was fetched. */
export async function showFetch<M extends FetchedModel>(run: Run<FetchEvent, M>, output: Output): Promise<M> {
  for await (const value of run) {
    output.event(value);
    switch (value.type) {
      case 'source':
        output.line(`fetching from ${value.source}`);
        break;
      case 'source-failed':
        output.line(sentence(`that failed: ${value.reason}`));
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
  return await run.result;
}

/** Names of the kinds, one and several. */
const NAMES: Record<FindingKind, readonly [string, string]> = {
  key: ['key or token', 'keys and tokens'],
  url: ['URL with a secret', 'URLs with a secret'],
  email: ['e-mail address', 'e-mail addresses'],
  iban: ['IBAN', 'IBANs'],
  card: ['payment card', 'payment cards'],
  password: ['password or code', 'passwords and codes'],
  'id-number': ['identity number', 'identity numbers'],
  account: ['account number', 'account numbers'],
  'date-of-birth': ['date of birth', 'dates of birth'],
  ip: ['network address', 'network addresses'],
  phone: ['phone number', 'phone numbers'],
  address: ['postal address', 'postal addresses'],
  name: ['name of a person', 'names of people'],
  phrase: ['rare passage', 'rare passages'],
};
const ROLES = {
  system: 'system message',
  user: 'question',
  assistant: 'answer',
  tool: 'result of a tool',
  text: 'text',
} as const;
const order: Record<Finding['certainty'], number> = { certain: 0, likely: 1, possible: 2 };

export function countKinds(findings: readonly Finding[]): string {
  const { kinds } = summarise(findings);
  return Object.entries(kinds)
    .map(([kind, { values, findings: places }]) => {
      const name = NAMES[kind as FindingKind][values === 1 ? 0 : 1];
      return `${count(values)} ${name}${places > values ? ` in ${count(places)} places` : ''}`;
    })
    .join(', ');
}

/** What was found in examples, masked: counts, then the surest ones with their lines. */
export function showFindings(findings: readonly Finding[], most: number, output: Output): void {
  for (const finding of findings) output.event({ type: 'finding', ...finding });
  if (findings.length === 0) return;
  output.line(`\npersonal details in it: ${countKinds(findings)}`);
  const sorted = [...findings].sort((a, b) => order[a.certainty] - order[b.certainty]);
  for (const { line, record, role, label, preview, certainty } of sorted.slice(0, most)) {
    const doubt = certainty === 'possible' ? ' (perhaps)' : '';
    output.line(`  line ${count(line)}, record ${count(record + 1)}, ${ROLES[role]}: ${label} ${preview}${doubt}`);
  }
  if (findings.length > most) output.line(`  and ${count(findings.length - most)} more (--findings N shows more)`);
}

/** How a verdict is said. */
export const VERDICTS: Record<Verdict, string> = {
  reproduced: 'written out word for word',
  likely: 'favoured over random values of its form',
  'not found': 'not found',
  'not probed': 'not probed',
};

/** Problems printed one by one; the rest is counted. --json prints all. */
const problemsShown = 12;

/**
 * Consumes a tuning run, or a step of the pipeline: shows its events to people and programs, returns its result.
 * @param onProgress told how far the longest stages are
 */
export async function showTune<R>(
  run: Run<PipelineEvent, R>,
  output: Output,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<R> {
  let problems = 0;
  for await (const value of run) {
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
      case 'waiting':
        output.line(value.reasons.length > 0 ? waitsBecause(value.reasons.map((clause) => ({ clause }))) : 'goes on');
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
        if (value.total > 0) onProgress(value.done, value.total);
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
        output.line(
          value.layer === undefined
            ? `resuming from step ${count(value.step)} of the stopped run`
            : `resuming the stopped run at layer ${value.layer} of ridge`,
        );
        break;
      case 'validation':
        output.line(
          `epoch ${value.epoch.toFixed(2)}, step ${count(value.step)}: validation NLL ${value.nll?.toFixed(3) ?? 'beyond all bounds'}${value.best ? '' : ' (not better)'}`,
        );
        break;
      case 'restart':
        output.line('ridge is ahead of that: training starts over from its factors');
        break;
      case 'run':
        output.line(`run ${value.run} of ${value.runs}, ${count(value.steps)} steps: the mean of all runs is kept`);
        break;
      case 'step':
      case 'diverged':
      case 'fitted':
      case 'sweep':
        break;
    }
  }
  return await run.result;
}

function showQuote(quote: Extract<PipelineEvent, { type: 'quote' }>, output: Output): void {
  const price = (q: Omit<typeof quote, 'type' | 'availableBytes' | 'cheaper'>) => {
    const disk = q.diskBytes > 0 ? `, ${bytes(q.diskBytes)} of disk while it runs` : '';
    return [`about ${duration(q.seconds)}, ${bytes(q.memoryBytes)} of memory${disk}`, ...describePower(q)].join(', ');
  };
  output.line(`training ${quote.layers} layers will take at most ${price(quote)}; validation may end it sooner`);
  for (const other of quote.cheaper) output.line(`  with --layers top:${other.layers}: ${price(other)}`);
}

/** Energy, share of the battery and heat, as far as they are known. */
function describePower({
  energyJoules,
  batteryPercent,
  peakCelsius,
}: Pick<TuneResult, 'energyJoules' | 'batteryPercent' | 'peakCelsius'>): string[] {
  return [
    ...(energyJoules === undefined ? [] : [`${(energyJoules / 3600).toPrecision(2)} Wh`]),
    ...(batteryPercent === undefined
      ? []
      : [`${batteryPercent.toFixed(batteryPercent < 10 ? 1 : 0)} % of the battery`]),
    ...(peakCelsius === undefined ? [] : [`up to ${peakCelsius.toFixed(0)} °C`]),
  ];
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
  validation: 'validation examples (not trained on)',
  train: 'the training examples themselves (too few to hold any out)',
} as const;

/** The closing lines for people. */
export function showResult(result: TuneResult, output: Output): void {
  const { base, adapted, teacher } = result.nll;
  const drop = (100 * (base - adapted)) / base;
  output.line();
  output.line(
    `loss (NLL) per response token on ${measuredNames[result.measuredOn]} (${count(result.tokens)} tokens), measured in llama.cpp:`,
  );
  output.line(`  base model    ${base.toFixed(3)}`);
  output.line(`  with adapter  ${adapted.toFixed(3)}   (${drop.toFixed(0)} % less)`);
  if (result.method === 'ridge' && teacher !== undefined && Number.isFinite(teacher)) {
    output.line(
      `  its teacher   ${teacher.toFixed(3)}   (the base model with your examples in its context; measured by Loam's own forward pass)`,
    );
  }
  showLoss(result.general, output);
  output.line(`adapter: ${result.adapter} (${bytes(result.bytes)})`);
  if (result.quote) {
    const { quoted, truth } = result.quote;
    output.line(
      `training took ${duration(truth.seconds)} (quoted: ${duration(quoted.seconds)}) and ${bytes(truth.memoryBytes)} of memory (quoted: ${bytes(quoted.memoryBytes)})`,
    );
  }
  const took = [`took ${duration(result.seconds)}, at most ${bytes(result.peakRssBytes)} of memory`];
  output.line([...took, ...describePower(result)].join(', '));
}

/** What an adapter has lost, if it was measured. */
export function showLoss(general: General | undefined, output: Output): void {
  if (!general) return;
  output.line(`what was lost, on ${count(general.questions)} general questions: ${describeLoss(general)}`);
  if (lossOf(general).much) output.line(lossAdvice);
}

/** The SHA-256 of a model's file, with a progress line. */
export async function hashModel(path: string, output: Output, signal: AbortSignal): Promise<string> {
  return await hashFile(path, signal).each(({ done, total }) => output.progress('hashing the model', done, total));
}
