import { isIPv6 } from 'node:net';
import type { Certainty, Span } from '../finding.js';
import { digitsIn, type NumberRun } from './numbers.js';

/** Letters of scripts that put spaces between words: in others the address would take the sentence before it along. */
const LOCAL = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}._%+'-]/u;
/** Longest local part (RFC 5321, 4.5.3.1.1). */
const MAX_LOCAL = 64;
const DOMAIN =
  /(?:[\p{L}\p{N}][\p{L}\p{N}-]{0,62}\.){1,6}(?:xn--[a-z0-9-]{2,59}|[A-Za-z]{2,24}|[^ -~\P{L}]{2,24})(?![A-Za-z0-9-])/uy;

/** E-mail addresses, also with letters beyond ASCII (RFC 6531). */
export function findEmails(text: string): Span[] {
  const spans: Span[] = [];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    let start = at;
    while (start > 0 && at - start <= MAX_LOCAL && LOCAL.test(text[start - 1]!)) start--;
    while (start < at && /[.'%+-]/.test(text[start]!)) start++;
    if (start === at || at - start > MAX_LOCAL || text[at - 1] === '.') continue;
    DOMAIN.lastIndex = at + 1;
    if (!DOMAIN.test(text)) continue;
    // The remote of a repository, not a person.
    if (text.slice(start, at) === 'git' && text[DOMAIN.lastIndex] === ':') continue;
    spans.push({ kind: 'email', label: 'e-mail address', certainty: 'certain', start, end: DOMAIN.lastIndex });
  }
  return spans;
}

const MAX_URL = 2048;
const END = /[\s"'<>`\\]/;
/** Names of parameters whose value opens a door. */
const SECRET =
  /[?&#;](?:access_?token|auth(?:_?token)?|token|api_?key|key|secret|client_secret|password|passwd|pwd|signature|sig|x-amz-signature|session(?:_?id)?|code)=[^&#]{6,}/i;

/** URLs that hold a password or a token. Other URLs are public by their nature. */
export function findUrls(text: string): Span[] {
  const spans: Span[] = [];
  let after = 0;
  for (let at = text.indexOf('://'); at >= 0; at = text.indexOf('://', Math.max(at + 3, after))) {
    let start = at;
    while (start > after && at - start < 20 && /[a-zA-Z0-9+.-]/.test(text[start - 1]!)) start--;
    let end = at + 3;
    while (end < text.length && end - at < MAX_URL && !END.test(text[end]!)) end++;
    while (/[.,;:!?)\]}]/.test(text[end - 1]!)) end--;
    after = end;
    if (start === at) continue;
    const rest = text.slice(at + 3, end);
    const user = /^[^/?#@:]{0,256}:([^/?#@]{1,256})@[^/?#\s]/.exec(rest);
    // {password}, $PASSWORD and the like stand for one.
    if (user && !/^[{$<[%]|^(?:pass|password|pwd|\*+|x+)$/i.test(user[1]!)) {
      spans.push({ kind: 'url', label: 'URL with a password', certainty: 'certain', start, end });
    } else if (SECRET.test(rest) && !/=(?:your|my|<|\{|\$|x{3,}|\*)/i.test(SECRET.exec(rest)![0])) {
      spans.push({ kind: 'url', label: 'URL with a token', certainty: 'likely', start, end });
    }
  }
  return spans;
}

const V4 = /(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w-]|\.\d)/g;
const V6 = /(?<![\w:.])[0-9A-Fa-f:]{6,39}(?:\.\d{1,3}){0,3}(?![\w:])/g;
const MAC = /(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])/g;

/** Addresses of machines: IPv4, IPv6, MAC. Loopback, masks and version numbers are not. */
export function findIps(text: string): Span[] {
  const spans: Span[] = [];
  const add = (label: string, { index: start, 0: { length } }: RegExpExecArray) =>
    spans.push({ kind: 'ip', label, certainty: 'certain', start, end: start + length });
  for (const match of text.matchAll(V4)) {
    if (/^(?:127\.|0\.|255\.255\.)|\.0\.0\.0$/.test(match[0])) continue;
    if (
      /(?:version|release|v\.?|section|chapter|§|firmware|build)\s?$/i.test(
        text.slice(Math.max(0, match.index - 10), match.index),
      )
    )
      continue;
    add('IP address', match);
  }
  for (const match of text.matchAll(V6)) {
    // `::1` and what a programming language writes with colons are none.
    if (!/\d/.test(match[0]) || match[0].split(':').filter((group) => group !== '').length < 3) continue;
    if (isIPv6(match[0])) add('IP address', match);
  }
  for (const match of text.matchAll(MAC)) add('MAC address', match);
  return spans;
}

/** Country codes of one and two digits; all others have three (ITU-T E.164). */
const SHORT_CODES = /^(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58])/;
/** Words beside which any long number is a phone number. */
const LABEL =
  /(?<![\p{L}\p{N}])(?:tel(?:e(?:phone|fon|foon|fono|fone)|éfono)?|phone|mobile?|cell(?:ular)?|fax|call|ring|text|sms|whats-?app|signal|handy|mobil(?:e|nummer)?|rufnummer|ruf|anruf(?:en)?|durchwahl|tél(?:éphone)?|portable|numéro|móvil|celular|llama(?:r|me)?|cellulare|chiama(?:mi)?|telemóvel|ligue|telefoonnummer|mobiel|gsm|telefonnummer|puhelin|numer|тел(?:ефон)?|моб)[^\n\d+]{0,24}$|(?:电话|電話|手机|手機|携帯|전화|연락처|هاتف|फ़ोन|فون)[^\n\d+]{0,12}$/iu;

/** National forms that are clear by grouping alone; `text` is the whole number as written. */
const NATIONAL: readonly { label: string; shape: RegExp }[] = [
  {
    label: 'North American phone number',
    shape: /^(?:1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])[2-9]\d{2}[-. ]\d{4}$/,
  },
  {
    label: 'British phone number',
    shape:
      /^\(?0(?:7\d{3}\)? ?\d{3} ?\d{3}|7\d{3}\)? \d{6}|2\d\)? \d{4} ?\d{4}|[12389]\d{2}\)? \d{3} ?\d{4}|1\d{3}\)? \d{5,6}|1\d{3}\)? \d{3} \d{3})$/,
  },
  { label: 'French phone number', shape: /^0[1-9](?:[ .-]\d{2}){4}$/ },
  { label: 'German phone number', shape: /^\(?0[1-9]\d{1,4}(?:\)| ?[-/] ?|\) | )\d{2,8}(?:[ -]?\d{2,5}){0,3}$/ },
  { label: 'Spanish phone number', shape: /^[6789]\d{2}(?: \d{3} \d{3}| \d{2} \d{2} \d{2})$|^9\d \d{3} \d{2} \d{2}$/ },
  {
    label: 'Italian phone number',
    shape: /^3[2-9]\d[ -]\d{3}[ -]?\d{4}$|^3[2-9]\d \d{7}$|^0[1-9]\d{0,2}[ -/]\d{5,8}$/,
  },
  { label: 'Australian phone number', shape: /^04\d{2} \d{3} \d{3}$|^\(?0[2378]\)? \d{4} \d{4}$/ },
  { label: 'Brazilian phone number', shape: /^\(\d{2}\) ?9?\d{4}-?\d{4}$/ },
  { label: 'Japanese phone number', shape: /^0\d{1,4}-\d{1,4}-\d{4}$|^0[789]0-\d{4}-\d{4}$/ },
  { label: 'Chinese phone number', shape: /^1[3-9]\d[ -]\d{4}[ -]\d{4}$/ },
  { label: 'Indian phone number', shape: /^0?[6-9]\d{4}[ -]\d{5}$/ },
  {
    label: 'Russian phone number',
    shape: /^8 ?\(\d{3,4}\) ?\d{2,3}-?\d{2}-?\d{2}$|^8[ -]\d{3}[ -]\d{3}[ -]\d{2}[ -]\d{2}$/,
  },
  { label: 'Swedish or Swiss phone number', shape: /^0\d{1,3}[ -]\d{2,3} ?\d{2} ?\d{2}$/ },
  {
    label: 'Dutch or Belgian phone number',
    shape: /^06[ -]\d{8}$|^06[ -]?(?:\d{2} ){3}\d{2}$|^04\d{2}[ /]\d{2} ?\d{2} ?\d{2}$|^0\d{1,2}-\d{7}$/,
  },
];
const DATE = /^(?:\d{1,2}[./-] ?\d{1,2}[./-] ?(?:19|20)?\d{2}|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2})(?=$| )/;
/** What stands before a number that is something else. */
const OTHER = /(?:isbn|issn|doi|nct|pmid|rfc|£|\$|€|¥|#|=|order|invoice|version|v\.?|no\.?|nr\.?|id:?)\s?$/i;

interface Match {
  label: string;
  certainty: Certainty;
}

function classify(written: string, digits: string, labelled: boolean): Match | undefined {
  if (DATE.test(written) || /^(\d)\1+$/.test(digits)) return undefined;
  const international = /^\(?\+/.test(written) ? digits : /^00[1-9]/.test(digits) ? digits.slice(2) : undefined;
  if (international !== undefined) {
    const code = SHORT_CODES.exec(international)?.[0].length ?? 3;
    const rest = international.length - code;
    const fits = rest >= 6 && international.length <= 15 && (/^\(?\+/.test(written) || international.length >= 10);
    if (fits) return { label: 'phone number', certainty: 'certain' };
    return undefined;
  }
  if (written.includes('.') && written.includes('/')) return undefined;
  const national = NATIONAL.find(({ shape }) => shape.test(written));
  if (national !== undefined && digits.length >= 8 && digits.length <= 13) {
    return { label: national.label, certainty: labelled ? 'certain' : 'likely' };
  }
  if (labelled && digits.length >= 6 && digits.length <= 15) return { label: 'phone number', certainty: 'likely' };
  return undefined;
}

/** Phone numbers: international ones, national ones in the grouping of their country, others beside a word such as "call". */
export function findPhones(text: string, runs: readonly NumberRun[], asked: boolean): Span[] {
  const spans: Span[] = [];
  for (const run of runs) {
    const { groups } = run;
    if (run.gluedLeft || text[run.start - 1] === '.' || OTHER.test(text.slice(Math.max(0, run.start - 8), run.start)))
      continue;
    const before = text.slice(Math.max(0, run.start - 40), run.start);
    const labelled = asked || LABEL.test(before);
    let from = 0;
    while (from < groups.length) {
      const digit = groups[from]!.start;
      // An area code keeps its opening bracket.
      const opened = from === 0 ? run.start : text[digit - 1] === '(' ? digit - 1 : digit;
      let taken = 0;
      for (let last = Math.min(groups.length - 1, from + 9); last >= from && taken === 0; last--) {
        const end = groups[last]!.end;
        const digits = digitsIn(groups, from, last);
        if (digits < 6 || digits > 17 || end - opened > 26 || (last === groups.length - 1 && run.gluedRight)) continue;
        const written = text.slice(opened, end);
        const found = classify(written, written.replace(/\D/g, ''), labelled && from === 0);
        if (found === undefined) continue;
        spans.push({ kind: 'phone', ...found, start: opened, end });
        taken = last + 1;
      }
      // Behind other digits only a number that begins anew can follow.
      from = taken > 0 ? taken : from + 1;
      if (
        from > 0 &&
        taken === 0 &&
        from < groups.length &&
        text.slice(groups[from - 1]!.end, groups[from]!.start) !== ' '
      )
        break;
    }
  }
  return spans;
}
