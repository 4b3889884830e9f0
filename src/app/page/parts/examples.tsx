import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { pythonJson } from '../../../model/pythonJson.js';
import type {
  DatasetPreview,
  ExampleFilter,
  ExampleInput,
  ExamplePage,
  ExampleRow,
  Finding,
  Message,
} from '../../../serve/contract/datasets.js';
import { visibleRange } from '../../logic/geometry.js';
import { number, plural, t } from '../../logic/language.js';
import { sayProblem } from '../../logic/said.js';
import { capital, detailName } from '../../logic/words.js';
import { call } from '../api.js';
import { useAnswer } from '../server.js';
import { Dialog } from './dialogs.js';
import { Pending } from './layout.js';

/** The examples of a data set: their texts, the long list of them, and what a model reads of them. */

interface ExampleText {
  label: string;
  role: 'question' | 'answer' | 'other';
  text: string;
  findings: Finding[];
  /** Shown and not edited here. */
  fixed?: true;
}

const roles = () =>
  ({
    system: { label: t('Instructions'), role: 'other' },
    user: { label: t('Someone asks'), role: 'question' },
    assistant: { label: t('The answer'), role: 'answer' },
    tool: { label: t('A tool answers'), role: 'other' },
  }) as const;

/** The texts of an example, whichever form it has. */
export function textsOf(row: ExampleRow): ExampleText[] {
  if (row.messages) return [...toolsOf(row), ...row.messages.flatMap((message, i) => messageTexts(row, message, i))];
  if (row.text !== undefined) return [{ label: t('The text'), role: 'answer', text: row.text, findings: row.findings }];
  const field = (name: 'instruction' | 'input' | 'output', label: string, role: ExampleText['role']): ExampleText => ({
    label,
    role,
    text: row[name] ?? '',
    findings: row.findings.filter((finding) => finding.field === name),
  });
  return [
    field('instruction', t('Someone asks'), 'question'),
    field('input', t('with this text'), 'other'),
    field('output', t('The answer'), 'answer'),
  ];
}

type Call = NonNullable<Message['calls']>[number];

function callText({ name, arguments: given }: Pick<Call, 'name' | 'arguments'>): string {
  return `${name} ${pythonJson(given)}`;
}

/** A call as it was edited: its tool, then its arguments as JSON. @throws SyntaxError in people's words */
function callWith(one: Call, text: string): Call {
  if (text === callText(one)) return one;
  const [, name, json = '{}'] = /^\s*(\S+)\s*(\{.*\})?\s*$/s.exec(text) ?? [];
  try {
    if (name === undefined) throw new SyntaxError();
    return { ...one, name, arguments: JSON.parse(json) as Record<string, unknown> };
  } catch {
    throw new SyntaxError(t('A call is the name of a tool and its arguments as JSON: weather {"city": "Hull"}'));
  }
}

/** What the answers may call. */
function toolsOf({ tools }: ExampleRow): ExampleText[] {
  if (!tools) return [];
  const text = tools.map(({ name, description }) => (description ? `${name}: ${description}` : name)).join('\n');
  return [{ label: t('Tools that may be called'), role: 'other', text, findings: [], fixed: true }];
}

/** A message as its texts: of an answer the thought, the text and the calls. */
function messageTexts(
  { findings }: ExampleRow,
  { role, content, reasoning, calls }: Message,
  i: number,
): ExampleText[] {
  const own = findings.filter(({ message }) => message === i);
  const texts: ExampleText[] = [];
  if (reasoning !== undefined) {
    const found = own.filter(({ part }) => part === 'reasoning');
    texts.push({ label: t('The thought before it'), role: 'other', text: reasoning, findings: found });
  }
  if (content !== '' || !calls) {
    texts.push({ ...roles()[role], text: content, findings: own.filter(({ part }) => part === undefined) });
  }
  for (const { name, arguments: given } of calls ?? []) {
    texts.push({
      label: t('It calls a tool'),
      role: 'answer',
      text: callText({ name, arguments: given }),
      findings: [],
    });
  }
  return texts;
}

/** The example with other texts, in the order of `textsOf`, as the server takes it. */
export function withTexts(row: ExampleRow, texts: readonly string[]): ExampleInput {
  if (row.messages) {
    let next = toolsOf(row).length;
    const messages = row.messages.map((message) => {
      const { content, reasoning, calls } = message;
      const edited = { ...message };
      if (reasoning !== undefined) edited.reasoning = texts[next++]!;
      if (content !== '' || !calls) edited.content = texts[next++]!;
      if (calls) edited.calls = calls.map((one) => callWith(one, texts[next++]!));
      return edited;
    });
    return { messages, ...(row.tools && { tools: row.tools }) };
  }
  if (row.text !== undefined) return { text: texts[0]! };
  const [instruction = '', input = '', output = ''] = texts;
  return { instruction, input, output };
}

/** Examples asked for at a time. */
const PAGE = 50;

/** Rows of a filtered list, fetched where they come into view. */
export function useExamples(id: string, filter: ExampleFilter) {
  const [head, setHead] = useState<ExamplePage>();
  const [rows, setRows] = useState<ReadonlyMap<number, ExampleRow>>(new Map());
  const [error, setError] = useState<Error>();
  const asked = useRef(new Set<number>());
  const round = useRef(0);

  const fetchPage = async (page: number) => {
    if (asked.current.has(page)) return;
    asked.current.add(page);
    const mine = round.current;
    try {
      const path = `/api/datasets/${id}/examples?offset=${page * PAGE}&limit=${PAGE}&filter=${filter}`;
      const answer = await call<ExamplePage>('GET', path);
      if (mine !== round.current) return;
      setHead(answer);
      setError(undefined);
      setRows((old) => new Map([...old, ...answer.examples.map((row, i) => [page * PAGE + i, row] as const)]));
    } catch (caught) {
      asked.current.delete(page);
      if (mine === round.current) setError(caught as Error);
    }
  };

  const pages = useRef<[number, number]>([0, 0]);
  const fetchPages = async () => {
    const [first, last] = pages.current;
    await Promise.all(Array.from({ length: last - first + 1 }, (_, i) => fetchPage(first + i)));
  };
  const reload = useCallback(async () => {
    round.current++;
    asked.current.clear();
    // Rows in sight stay until the new ones are here.
    await fetchPages();
  }, [id, filter]);

  useEffect(() => {
    setRows(new Map());
    pages.current = [0, 0];
    void reload();
  }, [reload]);

  const onRange = (from: number, to: number) => {
    pages.current = [Math.floor(from / PAGE), Math.floor(Math.max(from, to - 1) / PAGE)];
    void fetchPages();
  };
  return { head, rows, error, onRange, reload };
}

/** The height of a row, in pixels. */
const ROW = 100;

interface ExampleListProps {
  total: number;
  rows: ReadonlyMap<number, ExampleRow>;
  /** Called with the rows that are about to be seen. */
  onRange: (from: number, to: number) => void;
  onOpen: (row: number) => void;
}

/** A long list of which only the rows in view are in the document. It scrolls with the page. */
export function ExampleList({ total, rows, onRange, onOpen }: ExampleListProps) {
  const list = useRef<HTMLOListElement>(null);
  const [range, setRange] = useState({ from: 0, to: Math.min(total, 20) });
  useEffect(() => {
    const look = () => {
      // An effect may run, and a scroll arrive, after the list has left the page.
      if (!list.current) return;
      const top = -list.current.getBoundingClientRect().top;
      const next = visibleRange({ top, height: innerHeight }, { rows: total, rowHeight: ROW });
      setRange((old) => (old.from === next.from && old.to === next.to ? old : next));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [total]);
  useEffect(() => onRange(range.from, range.to), [range, total]);
  const shown = Array.from({ length: Math.max(0, Math.min(range.to, total) - range.from) }, (_, i) => range.from + i);
  return (
    <ol ref={list} class="windowed" aria-label={t('Examples')} style={{ height: `${total * ROW}px` }}>
      {shown.map((row) => (
        <li
          key={row}
          style={{ top: `${row * ROW}px`, height: `${ROW}px` }}
          aria-setsize={total}
          aria-posinset={row + 1}
        >
          <Row row={rows.get(row)} onOpen={() => onOpen(row)} />
        </li>
      ))}
    </ol>
  );
}

function Row({ row, onOpen }: { row: ExampleRow | undefined; onOpen: () => void }) {
  if (!row) return <div class="example waiting" />;
  const texts = textsOf(row);
  const joined = (wanted: ExampleText['role']) =>
    texts
      .filter(({ role }) => role === wanted)
      .map(({ text }) => text)
      .join(' · ')
      .slice(0, 300);
  return (
    <button type="button" class={row.excluded ? 'example excluded' : 'example'} onClick={onOpen}>
      <span class="example-question">{joined('question')}</span>
      <span class="example-answer">{joined('answer')}</span>
      <span class="chips">
        {row.excluded && <span class="chip">{t('left out')}</span>}
        {row.problems.length > 0 && <span class="chip warn">{sayProblem(row.problems[0]!).text}</span>}
        {row.findings.length > 0 && (
          <span class="chip bad">{capital([...new Set(row.findings.map(detailName))].join(', '))}</span>
        )}
      </span>
    </button>
  );
}

/** The exact text that the model reads, and which part of it is learnt. */
export function LearningPreview({ id, onClose }: { id: string; onClose: () => void }) {
  const preview = useAnswer<DatasetPreview>(`/api/datasets/${id}/preview`);
  const { data } = preview;
  const learnt = data && {
    examples: plural(data.usable, '{n} example', '{n} examples'),
    tokens: plural(data.trainedTokens, '{n} token', '{n} tokens'),
  };
  const most = Math.max(1, ...(data?.histogram ?? []).map((bin) => bin.count));
  return (
    <Dialog wide title={t('What the model learns')} onClose={onClose}>
      <Pending of={[preview]} what={t('Counting tokens')} />
      {data && (
        <>
          <p>
            {data.sequences === data.usable
              ? t('{examples} with {tokens} to learn.', learnt)
              : t('{examples} with {tokens} to learn in {sequences}.', {
                  ...learnt,
                  sequences: plural(data.sequences, '{n} sequence', '{n} sequences'),
                })}
            {data.tooLong.length > 0 &&
              ` ${plural(data.tooLong.length, '{n} example is too long and left out.', '{n} examples are too long and left out.')}`}
            {data.refused.length > 0 &&
              ` ${plural(data.refused.length, "{n} example is refused by the model's template ({reason}).", "{n} examples are refused by the model's template ({reason}).", { reason: data.refused[0]!.reason })}`}
            {data.divided.length > 0 &&
              ` ${plural(data.divided.length, '{n} text is too long and learnt in parts.', '{n} texts are too long and learnt in parts.')}`}
          </p>
          {data.remarks.map((remark) => (
            <p key={remark} class="note">
              {capital(remark)}.
            </p>
          ))}
          <h3>{t('Lengths')}</h3>
          <table class="histogram">
            <caption class="unseen">{t('Examples by number of tokens')}</caption>
            <tbody>
              {data.histogram.map((bin) => (
                <tr key={bin.from}>
                  <th scope="row">
                    {number(bin.from)}–{number(bin.to)}
                  </th>
                  <td>
                    <span class="histogram-bar" style={{ width: `${(100 * bin.count) / most}%` }} />
                  </td>
                  <td>{number(bin.count)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <h3>{t('As the model reads it')}</h3>
          <p class="quiet">{t('The highlighted part is learnt; the rest is its context.')}</p>
          {data.examples.map(({ line, tokens, trained, pieces }) => (
            <section key={line} class="passage">
              <p class="quiet">
                {t('line {line}: {tokens}, {trained} learnt', {
                  line,
                  tokens: plural(tokens, '{n} token', '{n} tokens'),
                  trained,
                })}
              </p>
              <p class="prose mono">
                {pieces.map((piece, i) =>
                  piece.trained ? (
                    <mark key={i} class="learnt">
                      {piece.text}
                    </mark>
                  ) : (
                    piece.text
                  ),
                )}
              </p>
            </section>
          ))}
        </>
      )}
    </Dialog>
  );
}
