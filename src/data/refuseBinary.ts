import { UnsupportedError } from '../util/errors.js';

interface Signature {
  name: string;
  /** Bytes at the start, as latin1 text. */
  start: string;
  fix: string;
}

const UNPACK = 'unpack it and give Loam the file inside';
const SAVE_AS_CSV = 'save the sheet as CSV (UTF-8) and use that file';
const NOT_DATA = 'give a JSON, JSON lines or CSV file of examples';
const EXPORT = 'export it as JSON lines or CSV and use that file';

/** First bytes of the files people pick by mistake; from the format's own specification each, as collected in file(1)'s magic. */
const SIGNATURES: Signature[] = [
  { name: 'a gzip archive', start: '\x1f\x8b', fix: UNPACK },
  { name: 'a bzip2 archive', start: 'BZh', fix: UNPACK },
  { name: 'an xz archive', start: '\xfd7zXZ\0', fix: UNPACK },
  { name: 'a Zstandard archive', start: '\x28\xb5\x2f\xfd', fix: UNPACK },
  { name: 'a 7-Zip archive', start: '7z\xbc\xaf\x27\x1c', fix: UNPACK },
  { name: 'a RAR archive', start: 'Rar!\x1a\x07', fix: UNPACK },
  { name: 'a PDF document', start: '%PDF-', fix: NOT_DATA },
  { name: 'an RTF document', start: '{\\rtf', fix: NOT_DATA },
  { name: 'an old Excel or Word file', start: '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', fix: SAVE_AS_CSV },
  { name: 'a Parquet file', start: 'PAR1', fix: EXPORT },
  { name: 'an Arrow file', start: 'ARROW1', fix: EXPORT },
  { name: 'an SQLite database', start: 'SQLite format 3\0', fix: EXPORT },
  { name: 'a GGUF model', start: 'GGUF', fix: 'give the model with --model and a file of examples here' },
  { name: 'a NumPy array', start: '\x93NUMPY', fix: NOT_DATA },
  { name: 'a Python pickle', start: '\x80\x04\x95', fix: 'write it with json.dump instead' },
  { name: 'a PNG picture', start: '\x89PNG', fix: NOT_DATA },
  { name: 'a JPEG picture', start: '\xff\xd8\xff', fix: NOT_DATA },
  {
    name: 'a Git LFS pointer, not the file itself',
    start: 'version https://git-lfs.github.com/spec/',
    fix: 'run "git lfs pull"',
  },
];

/** Local file names of a zip stand in its first bytes; enough to tell office files apart. */
const ZIP_HEAD_BYTES = 64 * 1024;

function zipKind(head: string): Signature {
  const start = 'PK\x03\x04';
  if (head.includes('xl/')) return { name: 'an Excel workbook', start, fix: SAVE_AS_CSV };
  if (head.includes('opendocument.spreadsheet')) return { name: 'a LibreOffice sheet', start, fix: SAVE_AS_CSV };
  if (head.includes('word/') || head.includes('opendocument.text')) {
    return { name: 'a text document of an office program', start, fix: NOT_DATA };
  }
  return { name: 'a zip archive', start, fix: UNPACK };
}

function recognise(bytes: Buffer): Signature | undefined {
  const head = bytes.toString('latin1', 0, 512);
  if (head.startsWith('PK\x03\x04')) return zipKind(bytes.toString('latin1', 0, ZIP_HEAD_BYTES));
  const known = SIGNATURES.find(({ start }) => head.startsWith(start));
  if (known) return known;
  if (head.slice(257, 262) === 'ustar') return { name: 'a tar archive', start: '', fix: UNPACK };
  if (/^(\0\0\xfe\xff|\xff\xfe\0\0|[^\0]\0\0\0|\0\0\0[^\0])/.test(head)) {
    return { name: 'UTF-32 text', start: '', fix: 'save it as UTF-8' };
  }
  if (head.startsWith('\0\0')) {
    return { name: 'a file of zero bytes', start: '', fix: 'it was damaged while written or copied; copy it again' };
  }
  const markup = /^(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|\?xml|[a-z])/i.exec(head);
  if (markup === null) return undefined;
  const html = /html|head|body/i.test(markup[2]!);
  return html
    ? { name: 'an HTML page', start: '', fix: 'the download brought a web page; download the data file itself' }
    : { name: 'an XML file', start: '', fix: EXPORT };
}

/**
 * Refuses files that are known not to be text with examples, by their first bytes.
 * @throws UnsupportedError that names what the file is
 */
export function refuseBinary(bytes: Buffer, file: string): void {
  const known = recognise(bytes);
  if (known === undefined) return;
  const { name, fix } = known;
  throw new UnsupportedError({ found: `this is ${name}`, expected: 'JSON, JSON lines or CSV', where: file, fix });
}
