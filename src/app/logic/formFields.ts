import { formatValue, type Option, parseValue } from '../../base/options.js';
import type { OptionDeclaration } from '../../serve/contract/jobs.js';

/** The form of the declared options: what it shows of each, and what a person typed as options to send. */

export interface FormField {
  name: string;
  label: string;
  option: Option;
  /** The default as shown in an empty field: "64", or "automatic" if the run decides. */
  fallback: string;
}

/** Those that the page shows first, in this order; the others follow as declared. */
const first = ['method', 'rank', 'alpha', 'batch', 'epochs', 'layers', 'budget', 'gentle'];

/** For names that make poor labels. */
const labels: Readonly<Record<string, string>> = {
  batch: 'Batch size',
  budget: 'Time budget',
  gentle: 'Go easy on this device',
  lambda: 'Ridge penalty',
  lr: 'Learning rate',
  targets: 'Adapted weights',
  rsLora: 'rsLoRA',
  loraPlus: 'LoRA+ ratio',
  warmup: 'Warm-up',
  clip: 'Gradient clipping',
  averaging: 'Weight averaging',
  maxTokens: 'Longest example',
};
/** The form of options as the server declares them: `main` for everyone who opens it, `more` for the curious. */
export function formFields(declared: readonly OptionDeclaration[]): { main: FormField[]; more: FormField[] } {
  const field = ({ name, ...option }: OptionDeclaration): FormField => ({
    name,
    label: labels[name] ?? sentenceCase(name),
    option,
    fallback: option.default === undefined ? 'automatic' : formatValue(option, option.default),
  });
  return {
    main: first.flatMap((name) => declared.find((one) => one.name === name) ?? []).map(field),
    more: declared.filter(({ name }) => !first.includes(name)).map(field),
  };
}

/** "weightDecay" as "Weight decay". */
function sentenceCase(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words[0]!.toUpperCase() + words.slice(1);
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

/** What would fit, as a short sentence beside the field. */
function fitting(option: Option): string | undefined {
  if (option.kind === 'integer') return `A whole number from ${option.min} to ${option.max}.`;
  if (option.kind === 'number') return `A number from ${option.min} to ${option.max}.`;
  if (option.kind === 'duration') return 'A time such as 90s, 10m or 2h.';
  if (option.kind === 'layers') return '"all", or "top:8" for the last eight layers.';
  return undefined;
}
