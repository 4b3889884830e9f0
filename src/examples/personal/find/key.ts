import type { Span } from '../finding.js';

interface KeyFormat {
  label: string;
  prefix: string;
  /** What follows the prefix; sticky. */
  body: RegExp;
}

const key = (label: string, prefix: string, body: RegExp): KeyFormat => ({
  label,
  prefix,
  body: new RegExp(body.source, 'y'),
});

/** Formats as their issuers document them. A longest length keeps a run of letters from being scanned again and again. */
const FORMATS: readonly KeyFormat[] = [
  ...['AKIA', 'ASIA'].map((prefix) => key('AWS access key', prefix, /[A-Z0-9]{16}(?![A-Za-z0-9])/)),
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix) => key('GitHub token', prefix, /[A-Za-z0-9]{36,255}/)),
  key('GitHub token', 'github_pat_', /[A-Za-z0-9_]{22,255}/),
  key('GitLab token', 'glpat-', /[\w-]{20,100}/),
  ...['xoxa-', 'xoxb-', 'xoxp-', 'xoxr-', 'xoxs-'].map((prefix) => key('Slack token', prefix, /[A-Za-z0-9-]{10,250}/)),
  key('Slack webhook', 'hooks.slack.com/services/', /[A-Za-z0-9/]{20,100}/),
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_'].map((prefix) =>
    key('Stripe key', prefix, /[A-Za-z0-9]{16,250}/),
  ),
  key('Anthropic key', 'sk-ant-', /[\w-]{20,250}/),
  key('OpenAI key', 'sk-', /(?!ant-)(?:proj-|svcacct-)?(?=[\w-]{0,40}\d)[\w-]{20,250}/),
  key('Google API key', 'AIza', /[\w-]{35}(?![\w-])/),
  key('Google client secret', 'GOCSPX-', /[\w-]{28}/),
  key('Hugging Face token', 'hf_', /[A-Za-z0-9]{30,60}/),
  key('npm token', 'npm_', /[A-Za-z0-9]{36}/),
  key('PyPI token', 'pypi-', /[\w-]{60,300}/),
  key('SendGrid key', 'SG.', /[\w-]{16,32}\.[\w-]{16,64}/),
  key('DigitalOcean token', 'dop_v1_', /[a-f0-9]{64}/),
  key('Shopify token', 'shpat_', /[a-fA-F0-9]{32}/),
  key('Mailgun key', 'key-', /[0-9a-f]{32}(?![0-9a-z])/),
  key('age secret key', 'AGE-SECRET-KEY-1', /[A-Z0-9]{58}/),
  key('Azure storage key', 'AccountKey=', /[A-Za-z0-9+/]{40,100}={0,2}/),
  key('two-factor secret', 'otpauth://', /[^\s"'<>]{10,500}/),
  key('JSON web token', 'eyJ', /[\w-]{8,2000}\.eyJ[\w-]{8,6000}\.[\w-]{10,2000}/),
  key('Wi-Fi password', 'WIFI:', /[^\n]{0,100}?P:(?!;)[^\n;]{1,100};/),
  key('Telegram bot token', ':AA', /[\w-]{33}(?![\w-])/),
];

/** Longest private key in lines of base64 that is looked for: 16,384 bits. */
const MAX_BLOCK = 16_000;
/** Bits a character that a token of mixed characters has at least; 20 different ones have 4.3, English words about 3. */
const MIN_BITS = 3.7;

function bitsPerCharacter(text: string): number {
  const counts = new Map<string, number>();
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}

/** Small letter, capital, digit, other. */
function classOf(code: number): number {
  if (code >= 97 && code <= 122) return 0;
  if (code >= 65 && code <= 90) return 1;
  return code >= 48 && code <= 57 ? 2 : 3;
}

/** Characters as a generator draws them: letters of both cases and digits change all the time, in a name of words they do not. */
function looksDrawn(token: string): boolean {
  const seen = new Set<number>();
  let changes = 0;
  for (let i = 0; i < token.length; i++) {
    const kind = classOf(token.charCodeAt(i));
    seen.add(kind);
    if (i > 0 && kind !== classOf(token.charCodeAt(i - 1))) changes++;
  }
  if (!seen.has(0) || !seen.has(1) || !seen.has(2)) return false;
  return changes >= 0.4 * token.length && token.replace(/\D/g, '').length > 1 && bitsPerCharacter(token) >= MIN_BITS;
}

/** API keys, tokens and private keys by their formats; other tokens by how random they look. */
export function findKeys(text: string): Span[] {
  const spans: Span[] = [];
  for (const { label, prefix, body } of FORMATS) {
    for (let at = text.indexOf(prefix); at >= 0; at = text.indexOf(prefix, at + 1)) {
      let start = at;
      if (label === 'Telegram bot token') {
        while (at - start < 11 && /\d/.test(text[start - 1] ?? '')) start--;
        if (at - start < 8) continue;
      } else if (/[A-Za-z0-9_]/.test(text[at - 1] ?? '') && label !== 'Slack webhook') {
        continue;
      }
      body.lastIndex = at + prefix.length;
      if (!body.test(text)) continue;
      const written = text.slice(at + prefix.length, body.lastIndex);
      // What documentation writes in its place: xxxx, ****, YOUR_KEY.
      if (/^(.)\1{7}|x{6}|X{6}|YOUR|your|\.\.\./.test(written)) continue;
      spans.push({ kind: 'key', label, certainty: 'certain', start, end: body.lastIndex });
      at = body.lastIndex - 1;
    }
  }
  findBlocks(text, spans);
  const token = /(?<![A-Za-z0-9+/_=.-])[A-Za-z0-9][A-Za-z0-9+/_-]{19,199}={0,2}(?![A-Za-z0-9+/_=-])/g;
  for (const match of text.matchAll(token)) {
    if (/^[\w-]+:\/\//.test(text.slice(match.index, match.index + 12)) || text[match.index - 1] === '/') continue;
    // A path is not drawn; a slash or two occur in base64.
    if (!looksDrawn(match[0]) || match[0].split('/').length > 4) continue;
    const end = match.index + match[0].length;
    spans.push({ kind: 'key', label: 'random token', certainty: 'possible', start: match.index, end });
  }
  return spans;
}

function findBlocks(text: string, spans: Span[]): void {
  const begin = /-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----/g;
  for (let match = begin.exec(text); match !== null; match = begin.exec(text)) {
    const close = `-----END ${match[1]}-----`;
    const end = text.slice(match.index, match.index + MAX_BLOCK).indexOf(close);
    // A block that was cut is a key all the same.
    const length =
      end < 0
        ? (/^[A-Za-z0-9+/=\s]*/.exec(text.slice(begin.lastIndex, begin.lastIndex + MAX_BLOCK))?.[0].trimEnd().length ??
          0)
        : 0;
    const to = end < 0 ? begin.lastIndex + length : match.index + end + close.length;
    spans.push({ kind: 'key', label: 'private key', certainty: 'certain', start: match.index, end: to });
    begin.lastIndex = to;
  }
}
