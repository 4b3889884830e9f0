import type { Source } from './types.js';

/** A source in words: "the model hub (owner/name)", "PyPI (project 1.0)". */
export function describeSource(source: Source): string {
  if (source.kind === 'hub') return `the model hub (${source.repo})`;
  const [first, ...more] = source.parts;
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  return `PyPI (${first?.project} ${first?.version}${others})`;
}
