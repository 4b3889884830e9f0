import { BadRecord, type Message } from './example.js';
import { numberOf } from './fields.js';

/**
 * What a record says of itself beside its question and answer: that the answer is one that nobody wants, that it is not to be learnt, or
 * that it is about something which a model of texts would not see.
 */

/**
 * A bad answer of TRL's and ms-swift's unpaired preferences ("label", beside the fields that they have), of LLaMA-Factory's, and what others
 * call it.
 */
const VERDICTS = ['label', 'kto_tag', 'desirable', 'is_desirable', 'is_chosen', 'chosen'];
const BESIDE_LABEL = ['prompt', 'completion', 'messages', 'conversations'];
/** The switches of messages, where they stand beside all of them. */
const SWITCHES = ['train', 'trainable', 'learn'];
const WEIGHTS = ['weight', 'loss_weight', 'loss_scale'];

/**
 * @returns names of the fields that say no more than that the record is to be learnt
 * @throws BadRecord for one that says otherwise
 */
export function requireWanted(record: Readonly<Record<string, unknown>>, names: readonly string[]): string[] {
  const has = (name: string) => names.includes(name);
  return names.filter((name) => {
    const plain = name.toLowerCase();
    if (plain === 'label' && !BESIDE_LABEL.some(has)) return false;
    const isVerdict = VERDICTS.includes(plain);
    // A text or a conversation that is chosen is the answer itself.
    if (plain === 'chosen' && typeof record[name] !== 'boolean') return false;
    const says = isVerdict || SWITCHES.includes(plain) ? flagOf(record[name]) : weightOf(plain, record[name]);
    if (says !== false) return says === true;
    const why = isVerdict ? 'its answer is one that is not wanted' : 'it is not to be learnt';
    throw new BadRecord('unwanted', `"${name}" says that ${why}`);
  });
}

function flagOf(value: unknown): boolean | undefined {
  const text = typeof value === 'string' ? value.trim().toLowerCase() : value;
  if (text === true || text === 'true') return true;
  return text === false || text === 'false' ? false : undefined;
}

function weightOf(name: string, value: unknown): boolean | undefined {
  const weight = WEIGHTS.includes(name) ? numberOf(value) : undefined;
  return weight === 0 ? false : weight === 1 || undefined;
}

/** Fields of what is no text, and where the text of a message has it stand (LLaVA, LLaMA-Factory, ms-swift). */
const UNSEEN = /^(images?|videos?|audios?)$/i;
const PLACE = /<(?:image|video|audio)>|<\|(?:image|video|audio)\w*\|>/;

/** @throws BadRecord for a record whose messages speak of a picture, a sound or a film beside them */
export function requireSeen(record: Readonly<Record<string, unknown>>, messages: readonly Message[]): void {
  const isThere = (value: unknown) => (Array.isArray(value) ? value.length > 0 : Boolean(value));
  const name = Object.keys(record).find((one) => UNSEEN.test(one) && isThere(record[one]));
  if (name === undefined || !messages.some(({ content }) => PLACE.test(content))) return;
  throw new BadRecord('unwanted', `its text is about what "${name}" holds, which a model of texts does not see`);
}
