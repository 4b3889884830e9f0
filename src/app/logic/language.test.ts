import assert from 'node:assert/strict';
import { afterEach, it } from 'node:test';
import { languageOf, list, number, place, placeOf, plural, rich, setLanguage, t } from './language.js';
import { duration, roughly, size } from './words.js';

afterEach(() => setLanguage('en', 'en-US', {}));

it('a text is the one of the language, else the English; values stand where that language has them', () => {
  const key = '{done} of {total}';
  assert.equal(t(key, { done: 1, total: 2000 }), '1 of 2,000');
  setLanguage('zh', 'zh-CN', { [key]: '共 {total}，已 {done}' });
  assert.equal(t(key, { done: 1, total: 2000 }), '共 2,000，已 1');
  assert.equal(t('Cancel'), 'Cancel');
  const link = { a: 1 };
  assert.deepEqual(rich(key, { done: link, total: 'x' }), ['共 ', 'x', '，已 ', link]);
});

it('what a value holds is not read again', () => {
  assert.equal(t('“{name}” is deleted', { name: '{name} $& {n}' }), '“{name} $& {n}” is deleted');
});

it('one of two texts is chosen by the rules of the language', () => {
  const examples = (n: number) => plural(n, '{n} example', '{n} examples');
  assert.deepEqual([0, 1, 3000].map(examples), ['0 examples', '1 example', '3,000 examples']);
  setLanguage('pt', 'pt-BR', { '{n} example': '{n} exemplo', '{n} examples': '{n} exemplos' });
  assert.deepEqual([0, 1, 3000].map(examples), ['0 exemplo', '1 exemplo', '3.000 exemplos']);
});

it('the browser’s wishes choose the language, and the place of the reader the form of numbers', () => {
  assert.equal(languageOf(['fr-FR', 'de-AT', 'en']), 'de');
  assert.equal(languageOf(['zh-Hant-TW']), 'zh');
  assert.equal(languageOf(['fr', 'constructor-x']), 'en');
  assert.equal(placeOf('de', ['en-GB', 'de-AT']), 'de-AT');
  assert.equal(placeOf('en', ['de-DE']), 'en-DE');
  assert.equal(placeOf('hi', []), 'hi');
  setLanguage('de', placeOf('de', ['de-DE']), {});
  assert.equal(place(), 'de-DE');
  assert.deepEqual([number(1234.5), number(0.5, 2), list(['a', 'b', 'c'])], ['1.234,5', '0,50', 'a, b und c']);
  assert.deepEqual([size(1.44e9), roughly(7_560), duration(4.2)], ['1,4 GB', 'about 2,1 hours', '4,2 s']);
});
