import { formatValue, type Option, parseValue, type Schema } from '../../base/options.js';

/** What a form shows of one declared option. */
export interface FormField {
  name: string;
  label: string;
  option: Option;
  /** How the default reads, for the placeholder: "64"; undefined for one that Loam chooses when it sees data and model. */
  fallback: string | undefined;
}

/** Those that the page shows first, in this order; the others follow as declared. */
const first = ['method', 'rank', 'alpha', 'batch', 'epochs', 'layers', 'budget'];

const labels: Readonly<Record<string, string>> = { lr: 'Learning rate', rsLora: 'rsLoRA', loraPlus: 'LoRA+ ratio' };

/** The form of the options that a job may be given: `main` for everyone who opens it, `more` for the curious. */
export function formFields(schema: Schema): { main: FormField[]; more: FormField[] } {
  const names = Object.keys(schema);
  const field = (name: string): FormField => ({
    name,
    label: labels[name] ?? sentenceCase(name),
    option: schema[name]!,
    fallback: schema[name]!.default === undefined ? undefined : formatValue(schema[name]!, schema[name]!.default),
  });
  return {
    main: first.filter((name) => names.includes(name)).map(field),
    more: names.filter((name) => !first.includes(name)).map(field),
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
