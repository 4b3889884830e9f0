import { type Example, isConversation, textOf } from '../../examples/example.js';
import { goesOnWith } from '../../examples/pack.js';
import { isNumberPart, partOf, partsOf } from '../../examples/parts.js';
import { type Finding, flatten, valuePattern } from '../../examples/personal/finding.js';

/** Where the values stand that a model is asked for. */

/** A thought, what is said, calls. */
const orderOf = (part: string | undefined) => (part === 'reasoning' ? 0 : part === undefined ? 1 : 2);

/** One value in its example: the place it is asked for. */
export class Place {
  readonly value: string;
  /** Of its message, or of the thought or argument that it stands in, what stands before the value. */
  readonly before: string;
  /** Whether nothing but a number can stand there. */
  readonly isNumber: boolean;
  private readonly pattern: RegExp;

  constructor(
    readonly example: Example,
    readonly finding: Finding,
  ) {
    const { kind, message, part, start, end } = finding;
    const text = partOf(example.messages[message]!, part)!;
    this.value = text.slice(start, end);
    this.before = text.slice(0, start);
    this.isNumber = isNumberPart(example.messages[message]!, part);
    this.pattern = valuePattern(kind, this.value);
  }

  isIn(text: string): boolean {
    return this.pattern.test(flatten(text));
  }

  /** Whether the text before the value holds it already: then writing it again is copying. */
  get isRepeated(): boolean {
    const { message, part } = this.finding;
    const earlier = this.example.messages.slice(0, message).flatMap((one) => [...partsOf(one)]);
    // In the order in which they are written.
    const own = [...partsOf(this.example.messages[message]!)].sort((a, b) => orderOf(a.part) - orderOf(b.part));
    const before = own.slice(
      0,
      own.findIndex((one) => one.part === part),
    );
    return [...earlier, ...before].some(({ text }) => this.isIn(text)) || this.isIn(this.before);
  }
}

/** Findings of one value with the places where to ask for it, the most telling first. */
export interface Value {
  findings: Finding[];
  places: Place[];
}

/** A value is asked for at one place at most of each kind of message: more places cost time and seldom tell more. */
export const MAX_PLACES = 2;
const certainties = { certain: 0, likely: 1, possible: 2 };

export function valuesOf(examples: readonly Example[], findings: readonly Finding[]): Value[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = `${finding.kind} ${finding.number}`;
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const values = [...groups.values()].map((group): Value => {
    const ranked = [...group].sort((a, b) => Number(b.trained) - Number(a.trained));
    const places: Place[] = [];
    for (const finding of ranked.slice(0, 50)) {
      const place = placeOf(examples, finding);
      if (places.length < MAX_PLACES && !place.isRepeated) places.push(place);
    }
    return { findings: group, places };
  });
  const weight = ({ findings: [first], places }: Value) =>
    (places[0]?.finding.trained ? 0 : 10) + certainties[first!.certainty];
  return values.sort((a, b) => weight(a) - weight(b));
}

/** Characters before a paragraph that are taken along. */
const MAX_BEFORE = 1000;

/** The place of a finding; in a text with the paragraphs before it, which were read before it in training. */
function placeOf(examples: readonly Example[], finding: Finding): Place {
  const example = examples[finding.example]!;
  if (isConversation(example)) return new Place(example, finding);
  let before = '';
  for (let i = finding.example; before.length < MAX_BEFORE && goesOnWith(examples[i - 1], examples[i]!); i--) {
    const { content, continues } = textOf(examples[i - 1]!)!;
    before = `${content}${continues}${before}`;
  }
  const text = textOf(example)!;
  const { start, end } = finding;
  return new Place(
    { ...example, messages: [{ ...text, content: before + text.content }] },
    { ...finding, start: start + before.length, end: end + before.length },
  );
}
