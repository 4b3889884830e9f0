import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type Option, parseObject } from '../../base/options.js';
import type { OptionDeclaration } from '../../serve/contract/jobs.js';
import { jobOptions } from '../../serve/jobs/tuner.js';
import { tuneOptions } from '../../train/options.js';
import { formFields, readForm } from './formFields.js';

/** As the server sends them: JSON has no undefined. */
const declared = Object.entries(jobOptions).map(
  ([name, option]) => JSON.parse(JSON.stringify({ name, ...option })) as OptionDeclaration,
);
const { main, more } = formFields(declared);

/** A value that fits, as a person would type it. */
function typedFor(option: Option): string | boolean {
  if (option.kind === 'flag') return !option.default;
  if (option.kind === 'choice') return option.choices.at(-1)!;
  if (option.kind === 'integer' || option.kind === 'number') return String(option.max);
  if (option.kind === 'duration') return '10m';
  return option.kind === 'layers' ? 'top:8' : 'attn_q';
}

it('every option that the server lists is on the form once', () => {
  const names = [...main, ...more].map(({ name }) => name);
  const files = ['model', 'out', 'columns', 'heldout', 'teacher', 'start', 'resume', 'restart', 'report'];
  assert.deepEqual([...names, ...files].sort(), Object.keys(tuneOptions).sort());
  assert.deepEqual(
    main.map(({ name }) => name),
    ['method', 'rank', 'alpha', 'batch', 'epochs', 'layers', 'budget', 'gentle'],
  );
});

it('the default of an option, or that the run decides it, is what an empty field says', () => {
  const fallback = Object.fromEntries([...main, ...more].map(({ name, fallback }) => [name, fallback]));
  assert.deepEqual(
    [fallback.batch, fallback.rank, fallback.layers],
    [String(tuneOptions.batch.default), 'automatic', 'automatic'],
  );
});

it('what is typed reaches the options as the server would read it', () => {
  const fields = [...main, ...more];
  const typed = Object.fromEntries(fields.map(({ name, option }) => [name, typedFor(option)]));
  const { options, faults } = readForm(fields, typed);
  assert.deepEqual(faults, {});
  assert.deepEqual(Object.keys(options).sort(), fields.map(({ name }) => name).sort());
  assert.deepEqual(parseObject(tuneOptions, JSON.parse(JSON.stringify(options)), 'form'), options);
});

it('an empty field is left to its default', () => {
  assert.deepEqual(readForm(main, { rank: '', method: undefined as never }), { options: {}, faults: {} });
});

it('what does not fit is said at its field, with its bounds', () => {
  const rank = main.find(({ name }) => name === 'rank')!.option as Extract<Option, { kind: 'integer' }>;
  for (const wrong of ['0', '1.5', 'many', String(rank.max + 1)]) {
    const { options, faults } = readForm(main, { rank: wrong });
    assert.deepEqual(options, {});
    assert.match(faults.rank!, new RegExp(`${rank.min}.*${rank.max}`));
  }
  assert.ok(readForm(main, { budget: 'soon' }).faults.budget);
  assert.ok(readForm(main, { layers: 'top:0' }).faults.layers);
});
