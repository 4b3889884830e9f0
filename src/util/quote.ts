/** Longer names are cut in messages: a hostile file may carry a 64 kB one. */
const SHOWN_CHARACTERS = 80;

const short: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * Text from a file, quoted for a message. Control, formatting and unassigned characters are escaped, because an error
 * message goes to a terminal, where a name could otherwise move the cursor or recolour the screen.
 */
export function quote(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  const safe = cut.replace(/[\p{C}\p{Zl}\p{Zp}"\\]/gu, (c) => short[c] ?? `\\u{${c.codePointAt(0)!.toString(16)}}`);
  return `"${safe}"`;
}
