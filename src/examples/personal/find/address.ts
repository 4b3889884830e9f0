import type { Certainty, Span } from '../finding.js';
import type { NumberRun } from './numbers.js';

const CAP = String.raw`(?:\p{Lu}[\p{L}'.-]{0,24}|(?:de|du|des|la|le|les|der|den|del|della|di|da|do|dos|van|von|zum|zur|of|the|and|el|los|las)(?=\s)|d'\p{L}{1,20}|\d{1,3}(?:st|nd|rd|th))`;
const ENGLISH =
  'street|st|road|rd|avenue|ave|lane|ln|drive|dr|court|ct|boulevard|blvd|way|place|pl|square|sq|terrace|close|crescent|cres|row|gardens|grove|hill|mews|parade|highway|hwy|parkway|pkwy|circle|cir|trail|walk|quay|wharf|rise|view|yard|alley';
/** Behind the house number: "12b Harbour Lane, Flat 3". */
const AFTER_NUMBER = new RegExp(
  String.raw`[a-zA-Z]?(?:-\d{1,4})?,?\s(?:(?:north|south|east|west|[NSEW]\.?)\s)?(?:${CAP}\s){1,4}(?:${ENGLISH}|${ENGLISH.replace(/(?<=^|\|)[a-z]/g, (c) => c.toUpperCase())})\b\.?(?:,?\s(?:[Aa]pt|[Aa]partment|[Ff]lat|[Uu]nit|[Ss]uite|[Ss]te|[Ff]loor|[Nn]o)\.?\s?#?\w{1,5})?`,
  'uy',
);
const FRENCH = new RegExp(
  String.raw`\s?(?:bis|ter)?,?\s(?:rue|avenue|av\.|boulevard|bd\.?|place|chemin|allée|allee|impasse|quai|route|cours|passage|square|faubourg)\s(?:${CAP}\s?){1,6}`,
  'iuy',
);
const ASIAN = /(?<=[\p{Script=Han}]{2}(?:路|街|道|巷|弄)\d{0,4})\d{1,5}(?:号|號)/gu;
/** Ends of street names that are one word: "Hauptstraße 5", "Storgatan 5", and those that stand alone: "Alte Allee 5". */
const SUFFIX =
  /(?:straße|strasse|str\.|weg|platz|allee|gasse|ufer|damm|chaussee|stieg|steig|promenade|straat|laan|plein|gracht|kade|dijk|gatan|vägen|gränd|gata|veien|vegen|gaten|gade|vej|allé|katu|tie)$/iu;
const SUFFIX_ALONE = /^(?:Ring|Straße|Strasse|Weg|Platz|Allee|Gasse|Ufer|Damm)$/u;
/** What precedes such a name and belongs to it. */
const BEFORE_SUFFIX = /(?<![\p{L}])(?:\p{Lu}[\p{L}.-]{0,24}[\s-]){1,3}$/u;
const ARTICLE = /^(?:Der|Die|Das|Den|Dem|Des|Ein|Eine|Jeder|Dieser|De|Het|Den|Det) $/u;
/** Streets whose kind comes first: "Calle de Alcalá, 5", "ul. Długa 5". */
const KIND_FIRST =
  /(?<![\p{L}])(?:calle|c\/|avda?\.|avenida|plaza|paseo|camino|carrera|via|viale|piazza|piazzale|corso|vicolo|largo|rua|travessa|praça|alameda|estrada|ul\.|ulica|aleja|al\.|ул\.|улица|проспект|пр-т|пер\.)\s?(?=\p{L})/giu;
/** From there to the house number. */
const REST = /^(?:[\p{L}.'-]{1,24}\s){0,5}?[\p{L}.'-]{2,24},?\s{1,2}(?:n\.?[º°o]?\s{0,2}|д\.\s{0,2}|#\s{0,2})?$/iu;
/** A house number with what may be glued to it. */
const HOUSE = /^\d{1,4}(?:\s?[a-zA-Z](?![\p{L}\p{N}]))?(?:\s?[-/]\s?(?:\d{1,4}|[A-Za-z](?!\p{L})))?/u;
/** "Flat 2, " before the house number. */
const WITHIN = /(?<!\p{L})(?:[Ff]lat|[Aa]pt\.?|[Aa]partment|[Uu]nit|[Ss]uite) \w{1,4}, $/u;
/** Behind a street: ", 20095 Hamburg", ", London SW1A 1AA", ", Springfield, IL 62704". */
const TOWN =
  /(?:,\s?|\s{1,2}|\n)(?:(?:[A-Z]{1,2}-)?(?:\d{4,5}|\d{3}\s\d{2})(?:\s?[A-Z]{2})?\s(?:\p{Lu}[\p{L}.'-]{1,24}[\s-]?){1,3}|(?:\p{Lu}[\p{L}.'-]{1,24}[,\s]{1,2}){1,3}(?:[A-Z]{2}\s\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}|[A-Z]\d[A-Z]\s?\d[A-Z]\d)(?![\p{L}\p{N}])|(?:[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2})(?![\p{L}\p{N}]))/uy;
/** Postcode areas of Royal Mail. */
const BRITISH =
  /(?<![\p{L}\p{N}])(?:A[BL]|B[ABDHLNRST]?|C[ABFHMORTVW]|D[ADEGHLNTY]|E[CHNX]?|F[KY]|G[LUY]?|H[ADGPRSUX]|I[GMPV]|JE|K[ATWY]|L[ADELNSU]?|M[EKL]?|N[EGNPRW]?|O[LX]|P[AEHLOR]|R[GHM]|S[AEGKLMNOPRSTWY]?|T[ADFNQRSW]|UB|W[ACDFNRSV]?|YO|ZE)\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}(?![\p{L}\p{N}])/gu;
const AMERICAN =
  /(?<=\p{Lu}\p{L}{2,24},\s)(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\s\d{5}(?:-\d{4})?(?!\d)/gu;
const CANADIAN = /(?<![\p{L}\p{N}])[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z]\s\d[ABCEGHJ-NPRSTV-Z]\d(?![\p{L}\p{N}])/gu;
const DUTCH = /(?<![\p{L}\p{N}])[1-9]\d{3}\s?(?!SA|SD|SS)[A-Z]{2}(?=\s{1,2}\p{Lu}\p{Ll}{2})/gu;
const BOX =
  /(?<![\p{L}\p{N}])(?:p\.?\s?o\.?\sbox|post(?:fach|bus|boks)|boîte\spostale|bp|apartado(?:\sde\scorreos)?|casella\spostale|caixa\spostal)\s(?:nr?\.?º?\s?)?\d{2,6}(?:\s\d{2,3})?/giu;
const JAPANESE = /〒\s?\d{3}-\d{4}(?:\s?[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー\d-]{3,60})?/gu;

/** Where the street begins in the text before its house number; undefined where there is none. */
function streetStart(before: string): number | undefined {
  const word = /(?<![\p{L}.-])[\p{L}.-]{2,40}(?=[ \n]{1,2}$)/u.exec(before);
  if (word !== null && /\p{Lu}/u.test(word[0]) && (SUFFIX.test(word[0]) || SUFFIX_ALONE.test(word[0]))) {
    let lead = BEFORE_SUFFIX.exec(before.slice(0, word.index));
    if (lead !== null && ARTICLE.test(lead[0])) lead = null;
    // "Weg 5" alone is no street, "Straße" needs its name.
    if (lead === null && (SUFFIX_ALONE.test(word[0]) || word[0].length < 6)) return undefined;
    return lead?.index ?? word.index;
  }
  let last: number | undefined;
  for (const { index, 0: kind } of before.matchAll(KIND_FIRST)) {
    const rest = before.slice(index + kind.length);
    if (REST.test(rest) && /\p{Lu}/u.test(rest)) last ??= index;
  }
  return last;
}

const DIRECTIONS =
  /^(?:minutes?|hours?|days?|years?|miles?|km|people|steps|percent|january|february|march|april|may|june|july|august|september|october|november|december)\b/i;

/** Postal addresses: a street with its house number, with the town where it follows; post boxes; postcodes that name a few houses. */
export function findAddresses(text: string, runs: readonly NumberRun[]): Span[] {
  const spans: Span[] = [];
  const add = (from: number, end: number, certainty: Certainty, label = 'postal address') => {
    const start = from - (WITHIN.exec(text.slice(Math.max(0, from - 16), from))?.[0].length ?? 0);
    TOWN.lastIndex = end;
    const to = TOWN.test(text) ? TOWN.lastIndex : end;
    const trimmed = text.slice(start, to).replace(/[\s,.-]+$/, '').length;
    spans.push({ kind: 'address', label, certainty, start, end: start + trimmed });
  };
  let covered = 0;
  for (const { groups, gluedLeft } of runs) {
    groups.forEach((group, i) => {
      if (
        group.start < covered ||
        group.end - group.start > 5 ||
        (i === 0 && gluedLeft) ||
        text[group.start - 1] === '.'
      )
        return;
      const before = text.slice(Math.max(0, group.start - 100), group.start);
      const street = /[\p{L}.,º°#]\s{0,2}$/u.test(before.slice(-3)) ? streetStart(before) : undefined;
      const house = HOUSE.exec(text.slice(group.start, group.start + 12))?.[0];
      if (street !== undefined && house !== undefined && group.end - group.start < 5) {
        add(group.start - before.length + street, group.start + house.length, 'likely');
        covered = spans.at(-1)!.end;
        return;
      }
      if (!/^[\s,a-zA-Z-]{1,4}\p{L}/u.test(text.slice(group.end, group.end + 6))) return;
      for (const shape of [AFTER_NUMBER, FRENCH]) {
        shape.lastIndex = group.end;
        const match = shape.exec(text);
        if (match === null || DIRECTIONS.test(match[0].trimStart())) continue;
        // In French the name goes on with capitals; without any it is no name.
        if (shape === FRENCH && !/\s\p{Lu}|d'\p{Lu}/u.test(match[0])) continue;
        add(group.start, shape.lastIndex, 'likely');
        covered = spans.at(-1)!.end;
        return;
      }
    });
  }
  for (const match of text.matchAll(BOX)) add(match.index, match.index + match[0].length, 'likely', 'post box');
  for (const match of text.matchAll(JAPANESE)) add(match.index, match.index + match[0].length, 'certain');
  for (const match of text.matchAll(ASIAN)) {
    const lead =
      /[\p{Script=Han}\d]{2,40}$/u.exec(text.slice(Math.max(0, match.index - 40), match.index))?.[0].length ?? 0;
    add(match.index - lead, match.index + match[0].length, 'likely');
  }
  for (const shape of [BRITISH, AMERICAN, CANADIAN, DUTCH]) {
    for (const { index, 0: code } of text.matchAll(shape)) {
      spans.push({ kind: 'address', label: 'postcode', certainty: 'likely', start: index, end: index + code.length });
    }
  }
  return spans;
}
