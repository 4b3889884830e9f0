/** Columns of a table, and what is said of records, in people's words. */

/** As the server takes it: "question=Frage,answer=Antwort". */
export function columnsOf(chosen: Readonly<Partial<Record<string, string>>>): string {
  const parts = ['question', 'context', 'answer', 'system'];
  return parts.flatMap((part) => (chosen[part] === undefined ? [] : [`${part}=${chosen[part]}`])).join(',');
}

const names: Readonly<Record<string, string>> = {
  ...{ instruction: 'the question', question: 'the question', prompt: 'the question', query: 'the question' },
  ...{ output: 'the answer', answer: 'the answer', completion: 'the answer', response: 'the answer' },
  ...{ input: 'the text with it', context: 'the text with it', system: 'the instructions' },
};

/** A reason with what its fields stand for: '"output" is empty' is "the answer is empty". */
export function inWords(reason: string): string {
  return reason.replace(
    /(?:(?:field|column) )?"(\w+)"/g,
    (whole, name: string) => (Object.hasOwn(names, name) ? names[name] : undefined) ?? whole,
  );
}
