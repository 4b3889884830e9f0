/**
 * A text for comparing: Unicode NFC, case folded, white space runs as one space, none at the ends. Through upper
 * case, as lower case alone keeps ß and ς apart from ss and σ, and through lower case before, which turns the capital ẞ into ß;
 * composed again last, as changing case may take characters apart.
 */
export function normaliseText(text: string): string {
  return text.normalize('NFC').toLowerCase().toUpperCase().toLowerCase().normalize('NFC').replace(/\s+/g, ' ').trim();
}
