import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type Option, parseObject } from '../../base/options.js';
import type { OptionDeclaration } from '../../serve/contract/jobs.js';
import { jobOptions } from '../../serve/jobs/tuner.js';
import { tuneOptions } from '../../train/options.js';
import { choiceWord, formFields, layersInWords, optionWords, readForm, settingInWords, typedOf } from './formFields.js';

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
    ['method', 'rank', 'alpha', 'batch', 'epochs', 'layers', 'budget', 'gentle', 'whileCharging'],
  );
});

it('the default of an option, or that the run decides it, is what an empty field says', () => {
  const fallback = Object.fromEntries([...main, ...more].map(({ name, fallback }) => [name, fallback]));
  assert.deepEqual(
    [fallback.batch, fallback.rank, fallback.layers, fallback.hours],
    [String(tuneOptions.batch.default), 'automatic', 'automatic', ''],
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

it('what was sent before is shown as it would be typed', () => {
  const fields = [...main, ...more];
  const typed = Object.fromEntries(fields.map(({ name, option }) => [name, typedFor(option)]));
  const { options } = readForm(fields, typed);
  assert.deepEqual(readForm(fields, typedOf(fields, options)).options, options);
  assert.deepEqual(typedOf(fields, {}), {});
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

it('every option has a name and a line of its own on the page, and every choice has words', () => {
  for (const { name, label, line, option } of [...main, ...more]) {
    assert.ok(Object.hasOwn(optionWords(), name), name);
    assert.notEqual(line, option.sentence);
    assert.doesNotMatch(`${label} ${line}`, /ridge|qlora|default|--|\bNLL\b/i, name);
    if (option.kind === 'choice') for (const one of option.choices) assert.notEqual(choiceWord(one), one);
  }
});

it('layers and settings are said in words, whatever a file from elsewhere has in their place', () => {
  assert.equal(layersInWords({ top: 20 }, 30), 'The top 20 of 30 layers');
  assert.equal(layersInWords({ top: 1 }), 'The top layer');
  for (const [choice, all] of [
    ['all', undefined],
    ['all', 30],
    [{ top: 40 }, 30],
  ] as const) {
    assert.equal(layersInWords(choice, all), 'All layers');
  }
  assert.deepEqual(settingInWords('layers', { top: 8 }), { label: 'Layers', text: 'The top 8 layers' });
  assert.deepEqual(settingInWords('rsLora', true), { label: 'Even out high ranks', text: 'yes' });
  assert.deepEqual(settingInWords('method', 'qlora'), { label: 'Method', text: 'Training only' });
  assert.deepEqual(settingInWords('layers', ['x']), { label: 'Layers', text: '["x"]' });
  assert.deepEqual(settingInWords('oddThing', { a: 1 }), { label: 'Odd thing', text: '{"a":1}' });
  for (const text of ['constructor', '__proto__', 'toString']) assert.equal(settingInWords('method', text).text, text);
  assert.deepEqual(settingInWords('constructor', 1), { label: 'Constructor', text: '1' });
});
