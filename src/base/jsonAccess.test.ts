import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoamError } from './errors.js';
import { parseJson } from './json.js';
import { at, Fields, flagAt, idAt, isObject, listAt, textAt } from './jsonAccess.js';

const text = '{"a": {"b": ["x", 1], "n": 7, "on": false}, "__proto__": "text", "none": null, "lists": [[1, 2], []]}';

describe('forgiving access', () => {
  const value = parseJson(text, 'f');

  it('follows keys, and finds nothing of another kind', () => {
    assert.deepEqual(listAt(value, 'a', 'b'), ['x', 1]);
    assert.deepEqual(listAt(value, 'a'), []);
    assert.equal(idAt(value, 'a', 'n'), 7);
    assert.equal(flagAt(value, 'a', 'on'), false);
    assert.equal(textAt(value, '__proto__'), 'text');
    for (const found of [idAt(value, 'a'), flagAt(value, 'a', 'n'), textAt(value, 'a', 'n'), at(value, 'a', 'n', 'x')])
      assert.equal(found, undefined);
    assert.ok(isObject(at(value, 'a')) && !isObject(at(value, 'a', 'b')));
  });
});

describe('Fields', () => {
  const fields = Fields.parse(text, 'f');
  const refuses = (read: () => unknown, message: RegExp) =>
    assert.throws(read, (error) => {
      assert.ok(error instanceof LoamError && error.code === 'invalid-data');
      assert.match(error.message, message);
      return true;
    });

  it('give values of the kind that is asked for', () => {
    assert.equal(fields.object('a').whole('n', 1, 9), 7);
    assert.equal(fields.object('a').flag('on'), false);
    assert.equal(fields.text('__proto__'), 'text');
    assert.deepEqual(fields.lists('lists', 2), [[1, 2], []]);
    assert.deepEqual([fields.has('a'), fields.has('none'), fields.has('nothing')], [true, false, false]);
  });

  it('say what is found in place of it, and where', () => {
    refuses(() => fields.text('a'), /^f: "a" is something else, expected a text/);
    refuses(() => fields.object('a').whole('n', 1, 6), /f, "a": "n" is 7, expected a whole number from 1 to 6/);
    refuses(() => fields.object('nothing'), /f, "nothing": it is missing/);
    refuses(() => fields.oneOf('__proto__', ['x', 'y']), /"__proto__" is "text", expected one of x, y/);
    refuses(() => fields.lists('lists', 1), /"lists" is something else, expected a list of lists/);
    refuses(() => Fields.parse('[]', 'f'), /f: it is not an object/);
  });
});
