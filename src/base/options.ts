import { UsageError } from './errors.js';

/**
 * Options declared once: name, kind, default, bounds and one sentence. Flags, configuration files, help, web forms and the recipe
 * stored in an adapter all derive from the declaration.
 */

interface Common<T> {
  /** Ends with a full stop; shown by help and forms. */
  readonly sentence: string;
  /** What stands for the value in help: "N", "FILE". */
  readonly value?: string;
  readonly default: T;
  /** Hidden from short help. */
  readonly advanced?: boolean;
}
export type Option =
  | ({ readonly kind: 'text' } & Common<string | undefined>)
  /** A flag that may be given several times. */
  | ({ readonly kind: 'texts' } & Common<readonly string[]>)
  | ({ readonly kind: 'choice'; readonly choices: readonly string[] } & Common<string>)
  | ({ readonly kind: 'integer'; readonly min: number; readonly max: number } & Common<number | undefined>)
  | ({ readonly kind: 'number'; readonly min: number; readonly max: number } & Common<number | undefined>)
  | ({ readonly kind: 'flag' } & Common<boolean>)
  | ({ readonly kind: 'duration' } & Common<number | undefined>)
  | ({ readonly kind: 'layers' } & Common<LayerChoice | undefined>);

/** `top: n` adapts the last n layers. */
export type LayerChoice = 'all' | { top: number };

export type Schema = Readonly<Record<string, Option>>;

type ValueOf<O extends Option> = O extends { kind: 'choice'; choices: readonly (infer C)[] }
  ? C
  : O extends { kind: 'text' }
    ? O['default'] extends string
      ? string
      : string | undefined
    : O extends { kind: 'flag' }
      ? boolean
      : O extends { kind: 'texts' }
        ? readonly string[]
        : O extends { kind: 'layers' }
          ? LayerChoice | undefined
          : O['default'] extends number
            ? number
            : number | undefined;

export type Values<S extends Schema> = { -readonly [K in keyof S]: ValueOf<S[K]> };

/** What an option may have beside its kind and its sentence. */
interface More<D> {
  readonly default?: D;
  readonly value?: string;
  readonly advanced?: boolean;
}
type Bounds = readonly [min: number, max: number];

function numeric<K extends 'integer' | 'number', D>(kind: K, [min, max]: Bounds, sentence: string, more: More<D>) {
  return { kind, min, max, sentence, value: kind === 'integer' ? 'N' : 'X', ...more, default: more.default as D };
}
export const integer = <const D extends number | undefined = undefined>(
  bounds: Bounds,
  sentence: string,
  more: More<D> = {},
) => numeric('integer', bounds, sentence, more);
export const number = <const D extends number | undefined = undefined>(
  bounds: Bounds,
  sentence: string,
  more: More<D> = {},
) => numeric('number', bounds, sentence, more);

export function text<const D extends string | undefined = undefined>(
  value: string,
  sentence: string,
  more: More<D> = {},
) {
  return { kind: 'text' as const, sentence, value, ...more, default: more.default as D };
}

/** Given as often as there are values. */
export function texts(value: string, sentence: string, more: Omit<More<never>, 'default'> = {}) {
  return { kind: 'texts' as const, sentence, value, ...more, default: [] as readonly string[] };
}

export function duration<const D extends number | undefined = undefined>(sentence: string, more: More<D> = {}) {
  return { kind: 'duration' as const, sentence, value: 'TIME', ...more, default: more.default as D };
}

export function flag(sentence: string, more: Omit<More<boolean>, 'default'> = {}) {
  return { kind: 'flag' as const, sentence, ...more, default: false };
}

/** The first choice is the default. */
export function choice<const C extends readonly [string, ...string[]]>(
  choices: C,
  sentence: string,
  more: Omit<More<string>, 'default'> = {},
) {
  return { kind: 'choice' as const, choices, sentence, ...more, default: choices[0] };
}

export function layers(sentence: string) {
  return { kind: 'layers' as const, sentence, value: 'top:N|all', default: undefined };
}

/** The flag of an option: "heldoutFile" -> "--heldout-file". */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
}

export function defaults<S extends Schema>(schema: S): Values<S> {
  return Object.fromEntries(Object.entries(schema).map(([name, option]) => [name, option.default])) as Values<S>;
}

const durationUnits: Record<string, number> = { s: 1, m: 60, h: 3600 };

function wrong(where: string, found: string, expected: string): never {
  throw new UsageError({ found, expected, where, fix: 'see --help' });
}

/** Checks one value, given as text (a flag) or as JSON (a configuration file, a form). `where` names it in errors. */
export function parseValue(option: Option, raw: unknown, where: string): unknown {
  const shown = typeof raw === 'string' ? `"${raw}"` : JSON.stringify(raw);
  switch (option.kind) {
    case 'text':
      return typeof raw === 'string' && raw !== '' ? raw : wrong(where, shown, 'some text');
    case 'texts': {
      const all: unknown[] = Array.isArray(raw) ? raw : [raw];
      return all.every((one) => typeof one === 'string' && one !== '') ? all : wrong(where, shown, 'some text');
    }
    case 'choice': {
      const chosen = String(raw).toLowerCase();
      return option.choices.includes(chosen) ? chosen : wrong(where, shown, `one of ${option.choices.join(', ')}`);
    }
    case 'flag':
      return typeof raw === 'boolean' ? raw : wrong(where, shown, 'true or false');
    case 'integer':
    case 'number': {
      const value = typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : raw;
      const fits = typeof value === 'number' && value >= option.min && value <= option.max;
      if (fits && (option.kind === 'number' || Number.isInteger(value))) return value;
      return wrong(
        where,
        shown,
        `${option.kind === 'integer' ? 'a whole number' : 'a number'} from ${option.min} to ${option.max}`,
      );
    }
    case 'duration': {
      if (typeof raw === 'number' && raw > 0) return raw;
      const match = /^(\d+(?:\.\d+)?)\s*([smh]?)$/.exec(typeof raw === 'string' ? raw : '');
      const seconds = match ? Number(match[1]) * durationUnits[match[2] || 'm']! : 0;
      return seconds > 0 ? seconds : wrong(where, shown, 'a time such as 90s, 10m or 2h');
    }
    case 'layers': {
      if (raw === 'all') return 'all';
      const top = typeof raw === 'object' && raw !== null ? (raw as { top?: unknown }).top : undefined;
      const n = Number(top ?? /^top:(\d+)$/.exec(String(raw))?.[1]);
      return Number.isInteger(n) && n > 0 ? { top: n } : wrong(where, shown, 'top:N (the last N layers) or all');
    }
  }
}

/** Reads flags. Positional arguments come back in order; `--` ends the flags. Throws UsageError naming the flag. */
export function parseFlags<S extends Schema>(
  schema: S,
  args: readonly string[],
): { values: Partial<Values<S>>; positionals: string[] } {
  const names = new Map(Object.keys(schema).map((name) => [flagOf(name), name]));
  const values: Record<string, unknown> = {};
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === '--') {
      positionals.push(...args.slice(i + 1));
      break;
    }
    if (!arg.startsWith('--')) {
      if (/^-[a-zA-Z]/.test(arg)) wrong(arg, 'an unknown flag', nearest(arg, [...names.keys()]));
      positionals.push(arg);
      continue;
    }
    const [flag, inline] = arg.includes('=')
      ? [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)]
      : [arg, undefined];
    const name = names.get(flag!);
    if (name === undefined) wrong(flag!, 'an unknown flag', nearest(flag!, [...names.keys()]));
    const option = schema[name!]!;
    const before = values[name!];
    if (before !== undefined && option.kind !== 'texts') wrong(flag!, 'the flag is given twice', 'once');
    if (option.kind === 'flag') {
      if (inline !== undefined) wrong(flag!, `"${inline}"`, 'no value');
      values[name!] = true;
      continue;
    }
    const raw = inline ?? args[++i];
    // `--out --json` lacks the file's name; `--out=--json` is one.
    if (raw === undefined || (inline === undefined && raw.startsWith('--'))) {
      wrong(flag!, 'no value', `${flag} ${option.value ?? 'VALUE'}`);
    }
    const value = parseValue(option, raw, flag!);
    values[name!] = Array.isArray(before) ? [...before, ...(value as string[])] : value;
  }
  return { values: values as Partial<Values<S>>, positionals };
}

/** Reads the same options from JSON: a configuration file, a form, a stored recipe. Unknown names are refused. */
export function parseObject<S extends Schema>(schema: S, object: unknown, where: string): Partial<Values<S>> {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    wrong(where, 'not an object', '{"option": value}');
  }
  const values: Record<string, unknown> = {};
  for (const [name, raw] of Object.entries(object as object)) {
    if (!Object.hasOwn(schema, name)) wrong(where, `an unknown option "${name}"`, Object.keys(schema).join(', '));
    if (raw === null || raw === undefined) continue;
    values[name] = parseValue(schema[name]!, raw, `${where}, ${name}`);
  }
  return values as Partial<Values<S>>;
}

/** How a value is written on the command line. */
export function formatValue(option: Option, value: unknown): string {
  if (value === undefined) return 'automatic';
  if (option.kind === 'layers') return value === 'all' ? 'all' : `top:${(value as { top: number }).top}`;
  if (option.kind === 'duration') return `${value}s`;
  return String(value);
}

/** Lines of help, one per option. */
export function describeOptions(schema: Schema): string[] {
  const rows = Object.entries(schema).map(([name, option]) => {
    const value =
      option.kind === 'flag'
        ? ''
        : ` ${option.value ?? (option.kind === 'choice' ? option.choices.join('|') : 'VALUE')}`;
    const fallback =
      option.kind === 'flag' || option.kind === 'texts' || option.default === undefined
        ? ''
        : ` (default: ${formatValue(option, option.default)})`;
    return [`${flagOf(name)}${value}`, option.sentence.replace(/\.$/, `${fallback}.`)] as const;
  });
  const width = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

function nearest(flag: string, flags: string[]): string {
  const start = flag.replace(/^-+/, '').slice(0, 3);
  const close = flags.filter((known) => known.includes(start) && start.length > 1);
  return close.length > 0 ? close.join(' or ') : flags.length > 0 ? `one of ${flags.join(', ')}` : 'no flags';
}
