import { chooseFields } from './chooseFields.js';
import { readFilledText, readText } from './readText.js';
import type { Message, Remark, Shape } from './types.js';

/**
 * A record that holds one question and its answer. The user text is `question + (context ? '\n' + context : '')`, which for an
 * Alpaca record is instruction and input. A context or system text that is null or '' counts as absent.
 */
export function readPair(
  record: Record<string, unknown>,
  remarks: Remark[],
): { shape: Shape; messages: Message[]; used: string[] } {
  const { question, context, answer, system } = chooseFields(Object.keys(record));
  const used = [question, answer];
  const messages: Message[] = [];
  if (system !== undefined) {
    used.push(system);
    const text = readText(record[system] ?? '', `"${system}"`, remarks);
    if (text !== '') messages.push({ role: 'system', content: text });
  }
  let asked = readFilledText(record[question], `"${question}"`, remarks);
  if (context !== undefined) {
    used.push(context);
    const text = readText(record[context] ?? '', `"${context}"`, remarks);
    asked = asked + (text ? '\n' + text : '');
  }
  messages.push({ role: 'user', content: asked });
  messages.push({ role: 'assistant', content: readFilledText(record[answer], `"${answer}"`, remarks) });
  return { shape: question === 'instruction' ? 'alpaca' : 'pairs', messages, used };
}
