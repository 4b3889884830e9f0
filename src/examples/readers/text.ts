import { looksLikeTable } from './csv.js';
import { checkRecordBytes, type Reader, rawRecord, type TextFile, textLines } from './reader.js';

/**
 * Plain text and Markdown. A paragraph is a record, `{ text, continues }`: what is found, edited or left out is one paragraph; what is
 * learnt is packed from neighbours (`pack.ts`). In Markdown headings and rules stay with what follows, and fenced code is one paragraph.
 */
export const text = textReader('text', /\.txt$/i);
export const markdown = textReader('markdown', /\.(md|markdown)$/i);

function textReader(container: 'text' | 'markdown', names: RegExp): Reader<{ lineEnd: string }> {
  return {
    container,

    /** By its name, unless the content is data: nothing in a text says that it is one. */
    detect(file) {
      if (file.container === undefined ? !names.test(file.name) || looksLikeData(file) : file.container !== container) {
        return undefined;
      }
      return { lineEnd: file.bytes.includes('\r\n') ? '\r\n' : '\n' };
    },

    *read(bytes) {
      const decode = (start: number, end: number) => bytes.toString('utf8', start, end).replace(/\r\n?/g, '\n');
      let last: { place: { line: number; index: number }; start: number; end: number } | undefined;
      const record = ({ place, start, end }: NonNullable<typeof last>, next?: number) =>
        rawRecord(place, () => {
          checkRecordBytes(bytes.subarray(start, end));
          const continues = next === undefined ? {} : { continues: decode(end, next).slice(0, MAX_GAP) };
          return { text: decode(start, end), ...continues };
        });
      let index = 0;
      for (const { line, start, end } of paragraphs(bytes, container === 'markdown')) {
        if (last !== undefined) yield record(last, start);
        last = { place: { line, index: index++ }, start, end };
      }
      if (last !== undefined) yield record(last);
    },

    write(records, { lineEnd }) {
      const parts = records as readonly { text: string; continues?: string }[];
      const whole = parts.map(({ text, continues = '\n' }) => text + continues).join('');
      return `${whole.trimEnd()}\n`.replaceAll('\n', lineEnd);
    },
  };
}

/** White space between two paragraphs; more is an empty page. */
const MAX_GAP = 100;

/** Whether it begins like JSON that Loam reads, broken or not, or has the header row of a table. */
function looksLikeData(file: TextFile): boolean {
  return /^[\s[]*\{\s*["'“”]/.test(file.bytes.toString('utf8', 0, 200)) || looksLikeTable(file);
}

interface Paragraph {
  /** Number of its first line, from 1. */
  line: number;
  start: number;
  end: number;
}

/** Bytes from which on a paragraph ends at the next line: a text without blank lines is one of lines. */
const LONG_PARAGRAPH = 2000;
/** Bytes of a block that stays whole, and of a single line. */
const MAX_PARAGRAPH = 64 * 1024;

function* paragraphs(bytes: Buffer, isMarkdown: boolean): Generator<Paragraph, void> {
  let open: (Paragraph & { lastLine: number }) | undefined;
  /** Lines of the open paragraph that are more than headings and rules. */
  let body = 0;
  /** What ends a block that stays whole, blank lines and all. */
  let closing: RegExp | undefined;
  for (const { line, lineStart, start, end } of textLines(bytes)) {
    const head = bytes.toString('utf8', lineStart, Math.min(end, start + 200));
    // A page break or other white space that is none to JSON.
    if (!/\S/.test(head)) continue;
    if (open !== undefined) {
      const length = end - open.start;
      const isNew = body > 0 && (line > open.lastLine + 1 || length > LONG_PARAGRAPH);
      if (closing === undefined ? isNew : length > MAX_PARAGRAPH) {
        yield* pieces(bytes, open);
        open = undefined;
        closing = undefined;
        body = 0;
      }
    }
    open ??= { line, start: lineStart, end, lastLine: line };
    open.end = end;
    open.lastLine = line;
    if (closing?.test(head)) closing = undefined;
    else if (closing === undefined) {
      closing = closingOf(head, isMarkdown);
      if (isMarkdown && body === 1 && UNDERLINE.test(head)) body = 0;
      else if (!isMarkdown || !HEADING.test(head)) body++;
    }
  }
  if (open !== undefined) yield* pieces(bytes, open);
}

/** Of Markdown (CommonMark 0.31): a heading or a rule, and the line that makes the one above it a heading. */
const HEADING = /^ {0,3}(#{1,6}(\s|$)|([-*_])( *\3){2,}$)/;
const UNDERLINE = /^ {0,3}(=+|-+)$/;

/** Of a line that begins fenced code, or a key in PEM: a part of a key would not be recognised as one. */
function closingOf(head: string, isMarkdown: boolean): RegExp | undefined {
  if (/^\s*-----BEGIN [A-Z ]{1,60}-----$/.test(head)) return /^\s*-----END [A-Z ]{1,60}-----/;
  const fence = isMarkdown ? /^\s*(`{3,}(?!.*`)|~{3,})/.exec(head)?.[1] : undefined;
  return fence === undefined ? undefined : new RegExp(`^\\s*${fence[0]}{${fence.length},}\\s*$`);
}

/** The paragraph; one that is far too long, which is a single line, in pieces that end at white space where there is some. */
function* pieces(bytes: Buffer, { line, start, end }: Paragraph): Generator<Paragraph, void> {
  while (end - start > MAX_PARAGRAPH) {
    let cut = bytes.lastIndexOf(' ', start + MAX_PARAGRAPH);
    if (cut <= start) for (cut = start + MAX_PARAGRAPH; (bytes[cut]! & 0xc0) === 0x80; ) cut--;
    yield { line, start, end: cut };
    for (start = cut; bytes[start] === 0x20; ) start++;
  }
  yield { line, start, end };
}
