import { createHash } from 'node:crypto';
import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { BadRecord } from './badRecord.js';
import { detectLayout, type Layout } from './detectLayout.js';
import { JsonFault } from './jsonFault.js';
import { MAX_RECORDS } from './limits.js';
import { LineCounter } from './lineCounter.js';
import { NoExamplesError } from './noExamplesError.js';
import { Pace } from './pace.js';
import { quoteName } from './quoteName.js';
import { readRecord } from './readRecord.js';
import { hashBytes, readSource } from './readSource.js';
import { recordsOf } from './recordsOf.js';
import { refuseBinary } from './refuseBinary.js';
import { Repeats } from './repeats.js';
import { toUtf8 } from './toUtf8.js';
import type { Dataset, Example, NamedBytes, Problem, RawRecord, Shape } from './types.js';

/** Different unused names that are counted; records whose field names are data would bring millions. */
const MAX_UNUSED_NAMES = 50;

/** Collects what the records of one file come to. */
class Collector {
  readonly examples: Example[] = [];
  readonly problems: Problem[] = [];
  readonly shapes = new Set<Shape>();
  readonly unused = new Map<string, number>();
  records = 0;
  private readonly repeats = new Repeats();

  constructor(
    private readonly file: string,
    private readonly excluded: ReadonlySet<number>,
  ) {}

  add(raw: RawRecord): void {
    const { line, index } = raw;
    if (++this.records > MAX_RECORDS) {
      throw new LoamError({
        found: 'there are too many records in this file',
        expected: `at most ${count(MAX_RECORDS)}`,
        where: this.file,
        fix: 'split it',
      });
    }
    if (this.excluded.has(index)) return;
    try {
      if ('fault' in raw) throw new BadRecord(raw.fault.kind, raw.fault.reason);
      const { shape, messages, remarks, unused } = readRecord(raw.value);
      for (const name of unused) this.countUnused(name);
      const repeat = this.repeats.note(messages, line);
      for (const remark of [...(raw.remarks ?? []), ...remarks, ...(repeat === undefined ? [] : [repeat])]) {
        this.problems.push({ severity: 'warning', kind: remark.kind, line, index, reason: remark.reason });
      }
      if (repeat?.kind === 'duplicate') return;
      this.shapes.add(shape);
      this.examples.push({ messages, source: { file: this.file, line, index } });
    } catch (error) {
      if (!(error instanceof BadRecord)) throw error;
      this.problems.push({ severity: 'error', kind: error.kind, line, index, reason: error.reason });
    }
  }

  private countUnused(name: string): void {
    const seen = this.unused.get(name);
    if (seen !== undefined || this.unused.size < MAX_UNUSED_NAMES) this.unused.set(name, (seen ?? 0) + 1);
  }
}

/** Names as `quoteName` shows them, which may make several one. */
function unusedFields(unused: ReadonlyMap<string, number>): Dataset['unusedFields'] {
  const shown = new Map<string, number>();
  for (const [name, records] of unused) {
    const plain = quoteName(name).replaceAll('"', '');
    shown.set(plain, (shown.get(plain) ?? 0) + records);
  }
  return [...shown].map(([name, records]) => ({ name, records })).sort((a, b) => b.records - a.records);
}

/** Two choices of the same file are different data. */
function hashWithout(sha256: string, excluded: readonly number[]): string {
  return createHash('sha256')
    .update(`${sha256} without ${excluded.join(' ')}`)
    .digest('hex');
}

/**
 * Reads a file of examples, or the bytes of one under a name for messages. The format is recognised from the content: JSON, JSON lines or CSV (comma, semicolon, tab) with
 * question and answer fields (Alpaca and its relatives) or conversations (OpenAI messages, ShareGPT), in UTF-8 or UTF-16. Each
 * record is an example, or a problem of severity error, or a problem of kind duplicate. Gives way to other work every few ms.
 *
 * @throws NoExamplesError when no record can be used; it has all the problems
 * @throws UnsupportedError when the file is known to be something else (an archive, a workbook, a web page)
 * @throws StoppedError when `signal` fires
 * @throws LoamError when it cannot be read, is too large, is of no known format, or is JSON with a syntax error
 */
export async function loadDataset(
  data: string | NamedBytes,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Dataset> {
  const pace = new Pace(signal);
  const path = typeof data === 'string' ? data : data.name;
  const source = typeof data === 'string' ? await readSource(data, pace) : await hashBytes(data, pace);
  refuseBinary(source.bytes, path);
  const bytes = await toUtf8(source.bytes, pace);
  const excluded = typeof data === 'string' ? [] : (data.excluded ?? []);
  const collected = new Collector(path, new Set(excluded));
  let layout: Layout;
  try {
    layout = await detectLayout(bytes, path, pace);
    if (layout.container === 'json') {
      const lines = new LineCounter(bytes);
      for (const { name, offset } of layout.unread) {
        const reason = `the list ${quoteName(name)} is not read`;
        const line = lines.lineOf(offset);
        collected.problems.push({ severity: 'warning', kind: 'unread-list', line, index: -1, reason });
      }
    }
    for await (const raw of recordsOf(bytes, layout, pace)) {
      collected.add(raw);
      if (pace.due) await pace.rest();
    }
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { offset, found, expected, fix } = error;
    const lines = new LineCounter(bytes);
    const where = `${path}, line ${count(lines.lineOf(offset))}, column ${count(lines.columnOf(offset))}`;
    throw new LoamError({ found, expected, where, fix });
  }
  const { examples, problems, records, shapes } = collected;
  if (examples.length === 0) throw new NoExamplesError(path, records, problems);
  const [shape] = shapes;
  return {
    file: path,
    format: { container: layout.container, shape: shapes.size === 1 ? shape! : 'mixed' },
    examples,
    problems,
    records,
    unusedFields: unusedFields(collected.unused),
    sha256: excluded.length === 0 ? source.sha256 : hashWithout(source.sha256, excluded),
  };
}
