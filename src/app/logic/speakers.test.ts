import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Adapter } from '../../serve/contract/adapters.js';
import type { ModelEntry } from '../../serve/contract/models.js';
import { chooseSpeaker, namesOf, othersOf, type Speaker, withStrength } from './speakers.js';

const adapter = (name: string, sha256: string, active: string | null, ...ids: string[]) =>
  ({
    id: name,
    name,
    active,
    model: { name: 'M', sha256 },
    versions: ids.map((id, i) => ({ id, createdAt: `2026-01-0${9 - i}T00:00:00Z` })),
  }) as unknown as Adapter;
const models = [
  { name: 'm', sha256: 's' },
  { name: 'other', sha256: 't' },
] as unknown as ModelEntry[];
const adapters = [
  adapter('Ada', 's', 'a1', 'a2', 'a1'),
  adapter('Bea', 's', null, 'b2', 'b1'),
  adapter('Cy', 't', 'c1', 'c1'),
];
const talking: Speaker = { model: 'm', version: 'a1' };
const shown = (speaker: Speaker) =>
  othersOf(speaker, adapters, models).map(({ version, strength }) => [version.id, strength]);

it('one talks to the asked version, else the newest in use', () => {
  assert.deepEqual(chooseSpeaker(adapters, models, 'b1'), { model: 'm', version: 'b1' });
  assert.deepEqual(chooseSpeaker(adapters, models), { model: 'other', version: 'c1' });
  assert.deepEqual(chooseSpeaker([], models), { model: 'm', version: null });
});

it('adapters of the same base model can be worn beside it, each at a strength, and taken off', () => {
  assert.deepEqual(shown(talking), [['b2', undefined]]);
  const both = withStrength(talking, 'b2', 0.5);
  assert.deepEqual(both, { ...talking, also: [{ version: 'b2', strength: 0.5 }] });
  assert.deepEqual(shown(both), [['b2', 0.5]]);
  assert.deepEqual(shown(withStrength(talking, 'b1', 1)), [['b1', 1]], 'an older version that is worn stays');
  assert.deepEqual(withStrength(both, 'b2', 0.7).also, [{ version: 'b2', strength: 0.7 }]);
  assert.deepEqual(withStrength(both, 'b2', undefined).also, []);
  assert.deepEqual(withStrength(both, 'a1', 0.3), { ...both, strength: 0.3 });
  assert.deepEqual(namesOf(both, adapters), ['Ada', 'Bea']);
});

it('nothing can be worn beside the bare base model, or beside an adapter whose model is not here', () => {
  assert.deepEqual(shown({ model: 'm', version: null }), []);
  assert.deepEqual(othersOf({ model: 'gone', version: 'a1' }, adapters, models), []);
});
