/** What the name of a model says of it: "TinyLlama/TinyLlama-1.1B-Chat-v1.0". After gguf-py/gguf/metadata.py, get_model_id_components. */

export interface ModelId {
  readonly fullName?: string;
  readonly organization?: string;
  readonly basename?: string;
  readonly finetune?: string;
  readonly version?: string;
  readonly sizeLabel?: string;
}

type Kind = 'basename' | 'size' | 'finetune' | 'version' | 'type';

interface Part {
  text: string;
  kinds: Set<Kind>;
}

const isDigit = (c: string | undefined): boolean => c !== undefined && /\d/.test(c);

/** A part that looks like a number of weights; a smaller number by far is a length of context. */
function readSize(part: Part, weights: number): void {
  let text = part.text.replaceAll('_', '.');
  // bloom-7b1
  if (isDigit(text.at(-1))) text = `${text.slice(0, -2)}.${text.at(-1)}${text.at(-2)}`;
  if (text.length > 1 && isDigit(text.at(-2)) && 'kmbt'.includes(text.at(-1)!)) {
    text = text.slice(0, -1) + text.at(-1)!.toUpperCase();
  }
  const number = text.slice(0, -1);
  if (weights > 0 && /^[+-]?(\d+\.?\d*|\.\d+)$/.test(number)) {
    const stated = Number(number) * 1000 ** ' KMBT'.indexOf(text.at(-1)!);
    if (Math.abs(stated - weights) > Math.floor((7 * weights) / 8)) {
      part.kinds.add('finetune');
      text = text.slice(0, -1) + text.at(-1)!.toLowerCase();
    }
  }
  if (part.kinds.size === 0) part.kinds.add('size');
  part.text = text;
}

function annotate(parts: Part[], weights: number): void {
  for (const [i, part] of parts.entries()) {
    if (/^(v|iter)?\d+([.]\d+)*$/i.test(part.text)) part.kinds.add('version');
    else if (/^(i?q\d(_\w)*|b?fp?(16|32))$/i.test(part.text)) {
      part.kinds.add('type');
      part.text = part.text.toUpperCase();
    } else if (i > 0 && /^(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)$/i.test(part.text)) {
      readSize(part, weights);
    } else if (i > 0 && /^(chat|instruct|vision|lora)$/i.test(part.text)) part.kinds.add('finetune');
  }
  const sizes = parts.filter(({ kinds }) => kinds.has('size'));
  if (sizes.some(({ text }) => /\d/.test(text))) {
    for (const { text, kinds } of sizes) if (/^\p{L}+$/u.test(text)) kinds.delete('size');
  }
  let atStart = true;
  for (const { text, kinds } of parts) {
    if (atStart && ((kinds.size === 0 && /^\p{L}/u.test(text)) || kinds.has('version'))) kinds.add('basename');
    else {
      atStart = false;
      if (kinds.size === 0) kinds.add('finetune');
    }
  }
  for (const { kinds } of [...parts].reverse()) {
    if (!kinds.has('basename') || kinds.size === 1) break;
    kinds.delete('basename');
  }
}

/** @param weights of the model; 0 where that is not known */
export function readModelId(id: string | undefined, weights: number): ModelId {
  if (id === undefined) return {};
  if (id.includes(' ')) return { fullName: id };
  const slash = id.indexOf('/');
  const owner = slash < 0 ? undefined : id.slice(0, slash);
  const fullName = id.slice(slash + 1);
  const parts: Part[] = fullName
    .split('-')
    .filter((text) => text !== '')
    .map((text) => ({ text, kinds: new Set() }));
  annotate(parts, weights);
  const joined = (keep: (kinds: Set<Kind>) => boolean) =>
    parts
      .filter(({ kinds }) => keep(kinds))
      .map(({ text }) => text)
      .join('-') || undefined;
  const sizeLabel = [...new Set(parts.filter(({ kinds }) => kinds.has('size')).map(({ text }) => text))].join('-');
  const found = {
    finetune: joined((kinds) => kinds.has('finetune')),
    version: joined((kinds) => kinds.has('version') && !kinds.has('basename')),
    sizeLabel: sizeLabel || undefined,
  };
  // With nothing else recognised, the base name is a guess.
  const sure = Object.values(found).some((value) => value !== undefined);
  return {
    fullName,
    organization: owner?.startsWith('.') ? undefined : owner,
    basename: sure ? joined((kinds) => kinds.has('basename')) : undefined,
    ...found,
  };
}

/** "tinyllama-chat" as "Tinyllama Chat"; acronyms and versions stay as they are. */
export function toTitle(text: string): string {
  const isLower = (word: string) => /\p{Ll}/u.test(word) && !/[\p{Lu}\p{Lt}]/u.test(word);
  return text
    .trim()
    .replaceAll('-', ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      if (!isLower(word) || /^(v\d+(\.\d+)*|\d.*)$/.test(word)) return word;
      return word.replace(/\p{L}+/gu, (run) => run[0]!.toUpperCase() + run.slice(1).toLowerCase());
    })
    .join(' ');
}
