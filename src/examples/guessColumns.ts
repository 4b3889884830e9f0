import { plainName } from './columns.js';
import { ANSWER, CONTEXT, QUESTION, SYSTEM } from './fields.js';

/** Which columns of any table are probably the question, the answer and what belongs to them: by their names, then by what they hold. */

/** What a column may be for. */
export const columnParts = ['question', 'context', 'answer', 'system'] as const;
export type ColumnPart = (typeof columnParts)[number];
export type ChosenColumns = Partial<Record<ColumnPart, string>>;

/** A column and what its first rows hold. */
export interface TableColumn {
  name: string;
  values: readonly string[];
}

/** Words in names beside those that Loam knows, in several languages, the likeliest first; without accents. */
const WORDS: Readonly<Record<ColumnPart, readonly string[]>> = {
  system: [...SYSTEM, 'persona', 'role_description'],
  context: [
    ...CONTEXT,
    'kontext',
    'contexto',
    'contesto',
    'contexte',
    'background',
    'passage',
    '上下文',
    '背景',
    'संदर्भ',
  ],
  answer: [
    ...[...ANSWER, 'antwort', 'respuesta', 'resposta', 'reponse', 'risposta', 'antwoord', 'ответ', 'उत्तर', 'जवाब'],
    ...[
      '答案',
      '回答',
      '答',
      'reply',
      'solution',
      'a',
      'translation',
      'summary',
      'target',
      'label',
      'category',
      'class',
    ],
    ...['intent', 'sentiment', 'ausgabe', 'salida', 'saida'],
  ],
  question: [
    ...[
      ...QUESTION,
      'frage',
      'pregunta',
      'pergunta',
      'domanda',
      'vraag',
      'вопрос',
      'प्रश्न',
      'सवाल',
      '问题',
      '問題',
      '提问',
    ],
    ...['问', 'q', 'ask', 'request', 'customer', 'kunde', 'cliente', 'message', 'nachricht', 'mensaje', 'mensagem'],
    ...['text', 'sentence', 'source', 'subject', 'title', 'term', 'word', 'eingabe', 'entrada'],
  ],
};

/** Whether it is a usual name of a column, in one of the languages. */
export function isUsualName(name: string): boolean {
  const plain = bare(name);
  return columnParts.some((part) => WORDS[part].includes(plain));
}

/** The parts of a table; without question or answer if it has no two columns of texts. */
export function guessColumns(columns: readonly TableColumn[]): ChosenColumns {
  const chosen: ChosenColumns = {};
  const free = new Set(columns.filter(({ name }) => name.trim() !== ''));
  const take = (part: ColumnPart, column: TableColumn | undefined) => {
    if (!column) return;
    chosen[part] = column.name;
    free.delete(column);
  };
  // "input" is the question where there is no other.
  for (const part of ['answer', 'question', 'system', 'context'] as const) {
    take(
      part,
      byName(
        [...free],
        WORDS[part].filter((word) => part !== 'question' || word !== 'input'),
      ),
    );
  }
  if (!chosen.question && chosen.context) {
    chosen.question = chosen.context;
    delete chosen.context;
  }
  const texts = [...free].filter(isText);
  if (!chosen.question) {
    const asking = texts.filter((column) => askingShare(column) >= 0.3).sort((a, b) => askingShare(b) - askingShare(a));
    take('question', asking[0] ?? texts[0] ?? (chosen.answer ? [...free][0] : undefined));
  }
  if (!chosen.answer) {
    const rest = [...free].filter(isText).sort((a, b) => meanLength(b) - meanLength(a));
    take('answer', rest[0] ?? [...free].find((column) => column.values.some((value) => value.trim() !== '')));
  }
  return chosen;
}

function byName(columns: readonly TableColumn[], words: readonly string[]): TableColumn | undefined {
  const names = columns.map((column) => ({ column, name: bare(column.name) }));
  for (const word of words) {
    const exact = names.find(({ name }) => name === word);
    if (exact) return exact.column;
  }
  // "Your answer", "answer_text": a word of some length in a longer name.
  for (const word of words) {
    if (word.length < 4 && /^[a-z]/.test(word)) continue;
    const within = names.find(
      ({ name }) => name.split('_').includes(word) && !/(^|_)(id|date|time|count|number|lang)(_|$)/.test(name),
    );
    if (within) return within.column;
  }
  return undefined;
}

function bare(name: string): string {
  return plainName(name)
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .normalize();
}

const meanLength = ({ values }: TableColumn) =>
  values.reduce((sum, value) => sum + value.length, 0) / Math.max(1, values.length);

const askingShare = ({ values }: TableColumn) =>
  values.filter((value) => /[?？]\s*$/.test(value)).length / Math.max(1, values.length);

/** Whether most of its values are words, and not numbers, dates, addresses or names of records. */
function isText(column: TableColumn): boolean {
  const filled = column.values.filter((value) => value.trim() !== '');
  const written = filled.filter(
    (value) => /\p{L}{2}/u.test(value) && !/^\s*(\S+@\S+|https?:\S+|[\d./:T\s-]+|\S*\d\S*)\s*$/.test(value),
  );
  return written.length * 2 > filled.length;
}

/** As `Columns` reads it. */
export function columnList(chosen: ChosenColumns): string {
  return columnParts.flatMap((part) => (chosen[part] === undefined ? [] : [`${part}=${chosen[part]}`])).join(',');
}
