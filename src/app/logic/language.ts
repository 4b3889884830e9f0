/**
 * The page's texts in the reader's language, and numbers and lists in the form of the reader's place. The English text is the key, so
 * the code reads as the screen does; what a catalogue lacks stays English.
 */

/** By their own names. */
export const languages = {
  de: 'Deutsch',
  en: 'English',
  es: 'Español',
  hi: 'हिन्दी',
  pt: 'Português',
  zh: '中文',
} as const;
export type Language = keyof typeof languages;

export type Catalogue = Readonly<Record<string, string>>;

let catalogue: Catalogue = {};
let current: Language = 'en';
let locale = 'en-US';
let plurals = new Intl.PluralRules('en');

/** @param place locale for numbers, dates and lists, such as "de-AT" */
export function setLanguage(next: Language, place: string, texts: Catalogue): void {
  catalogue = texts;
  current = next;
  locale = place;
  plurals = new Intl.PluralRules(next);
  numberFormats.clear();
}

export function language(): Language {
  return current;
}

/** The locale of numbers, dates and lists. */
export function place(): string {
  return locale;
}

/** The language of the first wish that there are texts in, else English. @param wishes as `navigator.languages` has them */
export function languageOf(wishes: readonly string[]): Language {
  for (const wish of wishes) {
    const [code] = wish.toLowerCase().split('-');
    if (isLanguage(code)) return code;
  }
  return 'en';
}

export function isLanguage(code: unknown): code is Language {
  return typeof code === 'string' && Object.hasOwn(languages, code);
}

/**
 * Where the reader is: the wish in this language; else the language as it is written in the region of the first wish, so that who reads
 * English in Germany has a clock of 24 hours.
 */
export function placeOf(spoken: Language, wishes: readonly string[]): string {
  const own = wishes.find((wish) => wish.toLowerCase().split('-')[0] === spoken);
  try {
    const { region } = new Intl.Locale(own ?? wishes[0] ?? spoken);
    return Intl.getCanonicalLocales(own ?? (region ? `${spoken}-${region}` : spoken))[0]!;
  } catch {
    return spoken;
  }
}

type Values<T> = Readonly<Record<string, T | undefined>>;

/**
 * A text of the page. `{name}` in it stands for the value of that name; numbers come in the reader's form. The key must be a literal, or
 * a choice between literals: a test reads them in the source.
 */
export function t(key: string, values: Values<string | number> = {}): string {
  return rich(key, values).join('');
}

/** The same with elements among the values, so that a sentence stays whole whatever stands in it. */
export function rich<T>(key: string, values: Values<T | string | number>): (T | string)[] {
  const parts = (catalogue[key] || key).split(/\{(\w+)\}/);
  return parts.flatMap((part, i) => {
    if (i % 2 === 0) return part === '' ? [] : [part];
    const value = values[part];
    return typeof value === 'number' ? number(value) : (value ?? []);
  });
}

/** One text of two, by how many: `{n}` in them stands for the number. */
export function plural(n: number, one: string, other: string, values: Values<string | number> = {}): string {
  return t(plurals.select(n) === 'one' ? one : other, { ...values, n });
}

const numberFormats = new Map<number | undefined, Intl.NumberFormat>();

/** @param digits after the point; without: as many as it has, three at most */
export function number(n: number | bigint, digits?: number): string {
  let format = numberFormats.get(digits);
  if (!format) {
    format = new Intl.NumberFormat(
      locale,
      digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits },
    );
    numberFormats.set(digits, format);
  }
  return format.format(n);
}

/** "a, b and c". */
export function list(things: readonly string[]): string {
  return new Intl.ListFormat(locale, { type: 'conjunction' }).format(things);
}
