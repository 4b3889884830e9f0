const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Controls but tab and the ends of lines (HTML standard, "control-character-in-input-stream"). */
const FORBIDDEN = /(?![\t\n\r])\p{Cc}/gu;

/**
 * Text as HTML that shows it and does nothing else, in an element or between quotes of an attribute. Control characters that HTML
 * forbids are shown as �.
 */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!).replace(FORBIDDEN, '\ufffd');
}
