import type { FindingKind } from './types.js';

/** Dots for a hidden stretch; always three, so that the length stays hidden too. */
const HIDDEN = '•••';

/** The beginning that names the format and hides nothing: "sk_live_", "ghp_", "AKIA". */
const PREFIX =
  /^(?:(?:sk|rk|pk)_(?:live|test)_|sk-(?:ant-|proj-)?|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|npm_|pypi-|AKIA|ASIA|AIza|eyJ|-----BEGIN )/;

/** What may be shown of a value: enough for its owner to know which one is meant, too little for anyone else to use it. */
export function maskValue(kind: FindingKind, value: string): string {
  const characters = Array.from(value.replace(/\s+/g, ' '));
  const first = characters[0] ?? '';
  const last = (count: number) => characters.slice(-count).join('');
  switch (kind) {
    case 'email': {
      const host = value.slice(value.lastIndexOf('@') + 1);
      return `${first}${HIDDEN}@${Array.from(host)[0]}${HIDDEN}${host.slice(host.lastIndexOf('.'))}`;
    }
    case 'iban':
      return `${value.slice(0, 2)}${HIDDEN}${last(2)}`;
    case 'card':
    case 'phone':
      return characters.length < 8 ? HIDDEN : `${HIDDEN}${last(2)}`;
    case 'key':
      return `${PREFIX.exec(value)?.[0] ?? ''}${HIDDEN}`;
    case 'url':
      return `${/^[a-z+.-]*:\/\//i.exec(value)?.[0] ?? ''}${HIDDEN}`;
    case 'name':
    case 'address':
      return value
        .split(/\s+/)
        .slice(0, 6)
        .map((word) => (/^\p{L}/u.test(word) ? `${Array.from(word)[0]}${HIDDEN}` : HIDDEN))
        .join(' ');
    case 'phrase':
      return `${value.split(/\s+/).length} words: ${first}${HIDDEN}`;
    default:
      return HIDDEN;
  }
}
