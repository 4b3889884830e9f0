import type { Example } from '../data/types.js';
import { LoamError } from '../util/errors.js';
import { placeholder } from './placeholder.js';
import type { Finding } from './types.js';

/**
 * The example with placeholders in place of findings: the same value has the same number. A copy; the example stays as it is. Give
 * all findings of one example at once: after a redaction the offsets of the others are no longer true.
 * @throws LoamError when a finding is not of this example as it stands
 */
export function redact(example: Example, findings: Finding | readonly Finding[]): Example {
  const list = (Array.isArray(findings) ? [...findings] : [findings]) as Finding[];
  const messages = example.messages.map((message, m) => {
    const here = list.filter((finding) => finding.message === m).sort((a, b) => a.start - b.start);
    let content = '';
    let at = 0;
    for (const { kind, number, start, end } of here) {
      if (start < at || end > message.content.length || start >= end) throw stale(example);
      content += message.content.slice(at, start) + placeholder(kind, number);
      at = end;
    }
    return here.length === 0 ? message : { ...message, content: content + message.content.slice(at) };
  });
  if (list.some(({ message, record }) => message >= messages.length || record !== example.source.index))
    throw stale(example);
  return { ...example, messages };
}

function stale(example: Example): LoamError {
  return new LoamError({
    found: 'a finding that is not of this record as it stands',
    where: `${example.source.file}, record ${example.source.index + 1}`,
    fix: 'search the edited data again',
  });
}
