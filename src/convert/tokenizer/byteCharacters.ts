/**
 * The printable characters that stand for the 256 bytes in byte-level BPE (Radford et al. 2019, encoder.py, bytes_to_unicode): visible
 * ones for themselves, the others from U+0100 on.
 */
function build(): string[] {
  const visible = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let extra = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : extra++));
}

export const byteCharacters: readonly string[] = build();

/** The byte that a character stands for. */
export const characterBytes: ReadonlyMap<string, number> = new Map(byteCharacters.map((c, byte) => [c, byte]));

/** Text as the stand-ins of its UTF-8 bytes. */
export function toByteCharacters(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text)) out += byteCharacters[byte];
  return out;
}

/** The text that stand-ins spell; undefined where one of them is none. Incomplete characters become U+FFFD. */
export function fromByteCharacters(text: string): string | undefined {
  const bytes: number[] = [];
  for (const character of text) {
    const byte = characterBytes.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString('utf8');
}
