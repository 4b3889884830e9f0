import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelCard } from './readModelCard.js';

test('the head of a model card', () => {
  const card = readModelCard(
    '---\nlicense: mit\nlanguage:\n- en\n- no\nmodel-index:\n- name: x\n---\n# Title\nlicense: no\n',
  );
  assert.equal(card?.get('license'), 'mit');
  assert.deepEqual(card?.get('language'), ['en', 'no']);
});

test('none, broken, hostile ones are as if there were none', () => {
  for (const text of [undefined, '', '# Title', '---\n- a\n---', '---\na: [\n---', '---\na: b: c\n---']) {
    assert.equal(readModelCard(text), undefined, text);
  }
  const laughs = Array.from(
    { length: 12 },
    (_, i) =>
      `l${i}: &l${i} [${Array(10)
        .fill(i ? `*l${i - 1}` : 'ha')
        .join(', ')}]`,
  );
  assert.equal(readModelCard(`---\n${laughs.join('\n')}\n---`), undefined);
  assert.equal(readModelCard('---\n__proto__: {polluted: 1}\n---')?.size, 1);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});
