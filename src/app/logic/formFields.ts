import { formatValue, type LayerChoice, type Option, parseValue } from '../../base/options.js';
import type { OptionDeclaration } from '../../serve/contract/jobs.js';
import { plural, t } from './language.js';

/** The form of the declared options: what it shows of each, and what a person typed as options to send. */

export interface FormField {
  name: string;
  label: string;
  /** What it does. */
  line: string;
  option: Option;
  /** The default as shown in an empty field: "64", "automatic" if the run decides, nothing if it asks nothing. */
  fallback: string;
}

/** Those that the page shows first, in this order; the others follow as declared. */
const first = ['method', 'rank', 'alpha', 'batch', 'epochs', 'layers', 'budget', 'gentle', 'whileCharging'];

/** Those that ask nothing where they are left empty. */
const limits = new Set(['budget', 'hours', 'idle', 'maxCelsius', 'minBattery', 'minMemory']);

/** What a declared option is called, and what it does, in a line for people who have never heard of it. */
export const optionWords = (): Readonly<Record<string, { label: string; line: string }>> => ({
  alpha: {
    label: t('Alpha'),
    line: t('How strongly the adapter speaks up beside the model. Left empty, it follows the rank.'),
  },
  averaging: {
    label: t('Averaging'),
    line: t('How many of its earlier states are averaged in, which calms the result; 0 keeps the last one alone.'),
  },
  batch: { label: t('Examples per step'), line: t('How many examples it looks at before it takes a step.') },
  budget: {
    label: t('Time limit'),
    line: t('Learning ends after this time, such as 10m or 2h, and the best so far is kept.'),
  },
  clip: { label: t('Longest step'), line: t('How far a single step may go; less is more careful.') },
  dropout: {
    label: t('Dropout'),
    line: t('Share of the adapter that is switched off by chance while it learns, so that it learns less by heart.'),
  },
  epochs: {
    label: t('Epochs'),
    line: t('How often it goes through all examples, at most; it ends earlier once it stops improving.'),
  },
  gentle: {
    label: t('Go easy on this device'),
    line: t('Slower, and leaves the device to other apps: half of the cores, and always after the others.'),
  },
  hours: { label: t('Between these hours'), line: t('It learns only between these times of day, such as 22:00-6:30.') },
  idle: {
    label: t('While unused for'),
    line: t('It learns only when nobody has used the device for this long, such as 5m.'),
  },
  keepAwake: {
    label: t('Keep the device awake'),
    line: t('The device does not fall asleep while it learns. Phones are kept awake anyway.'),
  },
  lambda: {
    label: t('Caution of the first fit'),
    line: t('More holds it closer to the model as it was. Left empty, it is tried out on held-out examples.'),
  },
  layers: {
    label: t('Layers'),
    line: t(
      'How much of the model is adapted, counted from its top layer. More can learn more, and takes more time and memory.',
    ),
  },
  loraPlus: {
    label: t('Lead of the second half'),
    line: t('An adapter has two halves; the second takes steps that are so many times as large.'),
  },
  lr: {
    label: t('Size of the steps'),
    line: t('Large steps learn fast and unlearn fast; small ones learn little. For example 0.001.'),
  },
  maxCelsius: {
    label: t('Below °C'),
    line: t('It learns only while the device is cooler than this, and more slowly when it comes close.'),
  },
  maxTokens: {
    label: t('Longest example'),
    line: t('Longer examples are left out. In tokens, three quarters of a word each.'),
  },
  memory: {
    label: t('Megabytes of memory, at most'),
    line: t('For learning, the model among them. With less it computes less at once, and is slower.'),
  },
  method: {
    label: t('Method'),
    line: t('The first fit is quick; training takes longer and learns more.'),
  },
  minBattery: {
    label: t('Battery percent, at least'),
    line: t('It learns only while the battery has at least this much.'),
  },
  minMemory: {
    label: t('Megabytes of memory free'),
    line: t('It pauses while less memory than this is free.'),
  },
  patience: {
    label: t('Patience'),
    line: t('How many checks in a row may bring nothing better before it ends.'),
  },
  rank: {
    label: t('Rank'),
    line: t('How much room the adapter has. More holds more, and makes a larger file.'),
  },
  replay: {
    label: t('Hold on to what it knew'),
    line: t(
      'How firmly it is reminded of general questions while it learns; 0 is faster, and unlearns more of the rest.',
    ),
  },
  rsLora: { label: t('Even out high ranks'), line: t('Keeps steps as large when the rank is high.') },
  runs: {
    label: t('Runs'),
    line: t('How often it learns anew, at most, to keep the mean of all, which is steadier.'),
  },
  seed: { label: t('Seed'), line: t('Where all chance begins: the same number gives the same result.') },
  shots: { label: t('Examples to look at'), line: t('How many examples the first fit reads before each question.') },
  skipGeneral: {
    label: t('Skip the general questions'),
    line: t('Saves time: it is not measured what the model has unlearnt of the rest.'),
  },
  sweeps: {
    label: t('Passes of the first fit'),
    line: t('How often the first fit goes over the answers again, at most.'),
  },
  targets: {
    label: t('Adapted parts'),
    line: t('Which parts of each layer are adapted: “all”, or names such as attn_q,ffn_up.'),
  },
  threads: { label: t('Cores'), line: t('How many cores compute. Left empty, the fast ones.') },
  warmup: { label: t('Warm-up'), line: t('Share of the way over which the steps grow to their full size.') },
  weightDecay: {
    label: t('Pull back'),
    line: t('How strongly the adapter is drawn back to nothing, so that it learns less by heart.'),
  },
  whileCharging: {
    label: t('Only while charging'),
    line: t('Otherwise it waits, and goes on by itself.'),
  },
});

/** What is chosen among, in words. */
const choiceWords = (): Readonly<Record<string, string>> => ({
  auto: t('automatic'),
  ridge: t('First fit only'),
  qlora: t('Training only'),
});

/** A choice as it is declared, in words. */
export function choiceWord(choice: string): string {
  const words = choiceWords();
  return Object.hasOwn(words, choice) ? words[choice]! : choice;
}

/** "weightDecay" as "Weight decay". */
function sentenceCase(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words[0]!.toUpperCase() + words.slice(1);
}

/** A setting that a version was made with: what it is called, and its value, which may be anything in a file from elsewhere. */
export function settingInWords(name: string, value: unknown): { label: string; text: string } {
  const label = optionWords()[name]?.label ?? sentenceCase(name);
  if (name === 'layers' && isLayerChoice(value)) return { label, text: layersInWords(value) };
  if (typeof value === 'boolean') return { label, text: value ? t('yes') : t('no') };
  if (typeof value === 'number') return { label, text: String(value) };
  return { label, text: typeof value === 'string' ? choiceWord(value) : JSON.stringify(value) };
}

function isLayerChoice(value: unknown): value is LayerChoice {
  return value === 'all' || typeof (value as { top?: unknown } | null)?.top === 'number';
}

/** @param all layers of the model, where they are known */
export function layersInWords(choice: LayerChoice, all?: number): string {
  if (choice === 'all' || choice.top >= (all ?? Number.POSITIVE_INFINITY)) return t('All layers');
  return all === undefined
    ? plural(choice.top, 'The top layer', 'The top {n} layers')
    : t('The top {n} of {all} layers', { n: choice.top, all });
}

/** The form of options as the server declares them: `main` for everyone who opens it, `more` for the curious. */
export function formFields(declared: readonly OptionDeclaration[]): { main: FormField[]; more: FormField[] } {
  const words = optionWords();
  const field = ({ name, ...option }: OptionDeclaration): FormField => ({
    name,
    label: words[name]?.label ?? sentenceCase(name),
    line: words[name]?.line ?? option.sentence,
    option,
    fallback:
      option.default !== undefined ? formatValue(option, option.default) : limits.has(name) ? '' : t('automatic'),
  });
  return {
    main: first.flatMap((name) => declared.find((one) => one.name === name) ?? []).map(field),
    more: declared.filter(({ name }) => !first.includes(name)).map(field),
  };
}

/**
 * What the person typed, as options to send, and a message for each field that does not fit. Empty fields are left to their default,
 * and so not sent.
 */
export function readForm(
  fields: readonly FormField[],
  typed: Readonly<Record<string, string | boolean>>,
): { options: Record<string, unknown>; faults: Record<string, string> } {
  const options: Record<string, unknown> = {};
  const faults: Record<string, string> = {};
  for (const { name, option } of fields) {
    const raw = typed[name];
    if (raw === undefined || raw === '' || (option.kind === 'flag' && raw === option.default)) continue;
    try {
      const text = typeof raw === 'string' ? raw.trim() : raw;
      options[name] = parseValue(option, text, name);
    } catch (error) {
      faults[name] = fitting(option) ?? (error as Error).message;
    }
  }
  return { options, faults };
}

/** What a form shows of options that were sent before: the reverse of `readForm`. */
export function typedOf(
  fields: readonly FormField[],
  options: Readonly<Record<string, unknown>>,
): Record<string, string | boolean> {
  const entries = fields.flatMap(({ name, option }) => {
    const value = options[name];
    if (value === undefined) return [];
    return [[name, typeof value === 'boolean' ? value : formatValue(option, value)] as const];
  });
  return Object.fromEntries(entries);
}

/** What would fit, as a short sentence beside the field. */
function fitting(option: Option): string | undefined {
  if (option.kind === 'integer' || option.kind === 'number') {
    const range = { least: String(option.min), most: String(option.max) };
    return option.kind === 'integer'
      ? t('A whole number from {least} to {most}.', range)
      : t('A number from {least} to {most}.', range);
  }
  if (option.kind === 'duration') return t('A time such as 90s, 10m or 2h.');
  return undefined;
}
