import type { Span } from '../finding.js';
import { isDay } from './numbers.js';

const MONTHS =
  'jan(?:uary|uar|vier|eiro)?|feb(?:ruary|ruar)?|février|febrero|febbraio|fevereiro|mar(?:ch|s|zo|ço|t)?|märz|apr(?:il)?|avril|abril|aprile|' +
  'may|mai|mayo|maggio|maio|mei|jun[ei]?|juin|junio|giugno|junho|jul[iy]?|juillet|julio|luglio|julho|aug(?:ust|usti)?|août|agosto|' +
  'sept?(?:ember|embre)?|septiembre|settembre|setembro|o[ck]t(?:ober|obre)?|octubre|ottobre|outubro|nov(?:ember|embre|iembre)?|novembro|' +
  'de[cz](?:ember|embre)?|décembre|diciembre|dicembre|dezembro|enero|januari|februari|maart|januari|gennaio|janeiro';
const WORDS =
  '(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|' +
  'seventeenth|eighteenth|nineteenth|twentieth|thirtieth|(?:twenty|thirty)-(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth))';
const DATE = new RegExp(
  [
    String.raw`\d{4}[-/.]\d{1,2}[-/.]\d{1,2}`,
    String.raw`\d{1,2}[-/.]\s?\d{1,2}[-/.]\s?\d{2,4}`,
    String.raw`\d{1,2}(?:st|nd|rd|th|er|\.|º|ª)?\s(?:of\s|de\s)?(?:${MONTHS})(?:\.?,?\s(?:de\s)?\d{4})?`,
    String.raw`(?:${MONTHS})\.?\s\d{1,2}(?:st|nd|rd|th)?(?:,?\s\d{4})?`,
    String.raw`${WORDS}\sof\s(?:${MONTHS})`,
    String.raw`\d{4}年\s?\d{1,2}月\s?\d{1,2}日`,
  ].join('|'),
  'iuy',
);
const LABEL = new RegExp(
  String.raw`(?<![\p{L}\p{N}])(?:date\sof\sbirth|birth\s?date|birthday|d\.?o\.?b\.?|born(?:\son)?|geburtsdatum|geburtstag|geb(?:oren)?\.?(?:\sam)?|` +
    String.raw`date\sde\snaissance|née?\sle|anniversaire|fecha\sde\snacimiento|naci(?:do|da|ó|mos)?\sel|cumpleaños|data\sdi\snascita|nat[oa]\sil|` +
    String.raw`compleanno|data\sde\snascimento|nascid[oa]\sem|nasci\sem|aniversário|geboortedatum|geboren\sop|födelsedatum|född|fødselsdato|` +
    String.raw`data\surodzenia|urodzon[ya]|дата\sрождения)(?![\p{L}\p{N}])|出生日期|生年月日|出生于|生日`,
  'giu',
);
/** Between label and date: "is on", ": ", " fällt auf den ". */
const BETWEEN =
  /(?:[\s:=.,是为は-]|(?:is|was|on|the|falls|my|it's|ist|am|der|den|fällt|auf|est|le|es|el|é|è|il|op|of|in|i)(?!\p{L})){0,8}/iuy;
/** People alive were born after this year; earlier dates are history. */
const EARLIEST = 1905;

function plausible(written: string): boolean {
  const years = written.match(/\d{4}/);
  if (years !== null && (Number(years[0]) < EARLIEST || Number(years[0]) > 2100)) return false;
  const numbers = written.match(/\d+/g)?.map(Number) ?? [];
  if (numbers.length !== 3) return numbers.every((x) => x <= 31 || x > 1000);
  const [a, b, c] = numbers as [number, number, number];
  return a > 31 ? isDay(a, b, c) : isDay(c, b, a) || isDay(c, a, b);
}

/** Dates that are said to be of a birth. Other dates are nobody's secret. */
export function findDatesOfBirth(text: string): Span[] {
  const spans: Span[] = [];
  for (const match of text.matchAll(LABEL)) {
    BETWEEN.lastIndex = match.index + match[0].length;
    BETWEEN.test(text);
    let from = Math.max(BETWEEN.lastIndex, match.index + match[0].length);
    while (/\s/.test(text[from] ?? '')) from++;
    DATE.lastIndex = from;
    if (!DATE.test(text)) continue;
    const [start, end] = [from, DATE.lastIndex];
    if (/\d/.test(text[end] ?? '') || !plausible(text.slice(start, end))) continue;
    spans.push({ kind: 'date-of-birth', label: 'date of birth', certainty: 'likely', start, end });
  }
  return spans;
}
