import { BadRecord } from './badRecord.js';
import { CHAT } from './chooseFields.js';
import { readChat } from './readChat.js';
import { readPair } from './readPair.js';
import { kindOf } from './readText.js';
import type { Message, Remark, Shape } from './types.js';

export interface ReadRecord {
  shape: Shape;
  messages: Message[];
  remarks: Remark[];
  /** Names of fields that were not looked at. */
  unused: string[];
}

/**
 * Interprets the parsed value of one record by its own fields, so that a file put together from several sources works.
 * `hasOwn` throughout: JSON.parse makes `__proto__` an ordinary field, and it must stay one.
 * @throws BadRecord when it cannot be used
 */
export function readRecord(value: unknown): ReadRecord {
  const remarks: Remark[] = [];
  if (Array.isArray(value)) return { ...readChat(value, 'messages', undefined, remarks), remarks, unused: [] };
  if (typeof value !== 'object' || value === null) {
    throw new BadRecord('not-a-record', `the record is ${kindOf(value)}, expected an object with named fields`);
  }
  const record = value as Record<string, unknown>;
  const chat = CHAT.find((name) => Object.hasOwn(record, name));
  if (chat === undefined) {
    const { shape, messages, used } = readPair(record, remarks);
    return { shape, messages, remarks, unused: Object.keys(record).filter((name) => !used.includes(name)) };
  }
  const used = [chat];
  let system: unknown;
  for (const name of ['system', 'system_prompt']) {
    if (!Object.hasOwn(record, name) || system !== undefined) continue;
    used.push(name);
    system = record[name];
  }
  const { shape, messages } = readChat(record[chat], chat, system, remarks);
  return { shape, messages, remarks, unused: Object.keys(record).filter((name) => !used.includes(name)) };
}
