import type { RawRecord } from '../example.js';
import { checkRecordBytes, type Reader, rawRecord, type TextFile, textLines } from './reader.js';

/**
 * Questions and answers as people write them down: lines that begin with "Q:" and "A:", or the words in one of several languages. Each
 * goes on until the next such line. Numbers, list marks and Markdown around the words are passed over.
 */
export const questionText: Reader<Labels> = {
  container: 'questions',

  /** Begins, but for a heading, with a question, and an answer follows. */
  detect({ bytes, container }: TextFile) {
    if (container !== undefined && container !== 'questions') return undefined;
    let seen = 0;
    let question: string | undefined;
    for (const { start, end } of textLines(bytes)) {
      if (seen++ > HEAD_LINES) return undefined;
      const found = labelOf(bytes.toString('utf8', start, Math.min(end, start + HEAD_BYTES)));
      if (question === undefined) {
        if (found?.kind === 'question') question = found.label;
        else if (found || seen > TITLE_LINES) return undefined;
      } else if (found?.kind === 'answer') return { question, answer: found.label };
    }
    return undefined;
  },

  *read(bytes) {
    let index = 0;
    let open: { line: number; start: number; question: string[]; answer?: string[] } | undefined;
    let end = 0;
    const record = ({ line, start, question, answer }: NonNullable<typeof open>): RawRecord => {
      const place = { line, index: index++ };
      return rawRecord(place, () => {
        checkRecordBytes(bytes.subarray(start, end));
        return { question: whole(question), answer: whole(answer ?? []) };
      });
    };
    let lastLine = 0;
    for (const line of textLines(bytes)) {
      const text = bytes.toString('utf8', line.start, line.end);
      const found = text.length < LONGEST_LINE ? labelOf(text) : labelOf(text.slice(0, HEAD_BYTES));
      if (found?.kind === 'question') {
        if (open) yield record(open);
        open = { line: line.line, start: line.start, question: [text.slice(found.length)] };
      } else if (found && open && !open.answer) {
        open.answer = [text.slice(found.length)];
      } else if (found) {
        // An answer to nothing.
        if (open) yield record(open);
        open = { line: line.line, start: line.start, question: [], answer: [text.slice(found.length)] };
      } else if (open) {
        const blank = Array.from({ length: Math.min(line.line - lastLine - 1, MOST_BLANK) }, () => '');
        (open.answer ?? open.question).push(...blank, bytes.toString('utf8', line.lineStart, line.end));
      }
      end = line.end;
      lastLine = line.line;
    }
    if (open) yield record(open);
  },

  write(records, { question, answer }) {
    const parts = records as readonly { question: string; answer: string }[];
    return parts.map((one) => `${question}: ${one.question}\n${answer}: ${one.answer}\n`).join('\n');
  },
};

interface Labels {
  question: string;
  answer: string;
}

const HEAD_LINES = 40;
const HEAD_BYTES = 400;
/** Lines before the first question: a title and a sentence. */
const TITLE_LINES = 4;
const LONGEST_LINE = 10_000;
/** Blank lines in a row that are kept. */
const MOST_BLANK = 3;

/** In English, German, Spanish, Portuguese, French, Italian, Dutch, Russian, Hindi, Chinese and Japanese. */
const QUESTION = [
  ...['Q', 'Question', 'F', 'Frage', 'P', 'Pregunta', 'Pergunta', 'D', 'Domanda', 'V', 'Vraag', 'В', 'Вопрос'],
  ...['प्रश्न', 'सवाल', '问', '問', '问题', '問題', '質問'],
];
const ANSWER = [
  ...[
    'A',
    'Answer',
    'Antwort',
    'R',
    'Respuesta',
    'Resposta',
    'Réponse',
    'Reponse',
    'Risposta',
    'Antwoord',
    'О',
    'Ответ',
  ],
  ...['उत्तर', 'जवाब', '答', '答案', '回答'],
];
const LABEL = new RegExp(
  `^[\\s>#*_-]*(?:\\d{1,5}[.)]\\s*)?([*_]{0,3})(?:(${QUESTION.join('|')})|(${ANSWER.join('|')}))\\s?#?\\d{0,5}\\s?[*_]{0,3}[:：][*_]{0,3}\\s*`,
  'iu',
);

function labelOf(text: string): { kind: 'question' | 'answer'; label: string; length: number } | undefined {
  const found = LABEL.exec(text);
  if (!found) return undefined;
  const [{ length }, , question, answer] = found;
  return question === undefined
    ? { kind: 'answer', label: answer!, length }
    : { kind: 'question', label: question, length };
}

/** The lines as one text, without the Markdown that stood around the whole of a line: "**Q: When?**". */
function whole(lines: readonly string[]): string {
  const text = lines.join('\n').trim();
  const marks = /([*_]{2,3})$/.exec(text)?.[1];
  return marks && text.split(marks).length === 2 ? text.slice(0, -marks.length).trimEnd() : text;
}
