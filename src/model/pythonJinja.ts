import { type Environment, Interpreter } from '@huggingface/jinja';
import { capitalize, indent, methods, text, textOf, texts, titleFilter, wholeOf } from './pythonText.js';
import { Func, jsonOf, List, nothing, printed, same, Text, Truth, type Value, Whole } from './pythonValues.js';

/**
 * Makes the Jinja interpreter do what Python's does where the two differ: templates are written for that one (jinja2 3.1, Python's own
 * string methods). Imported once, by the process that renders templates. What is here goes when the library has it.
 */

const named = (last: Value | undefined): ReadonlyMap<string, Value> | undefined =>
  last?.type === 'KeywordArgumentsValue' ? (last.value as Map<string, Value>) : undefined;

const prototype = Text.prototype as object;
const { get: original } = Object.getOwnPropertyDescriptor(prototype, 'builtins')!;
const known = new WeakSet<object>();
Object.defineProperty(prototype, 'builtins', {
  get(this: Value) {
    const table = original!.call(this) as Map<string, Value>;
    if (known.has(table)) return table;
    known.add(table);
    const own = this.value as string;
    for (const [name, method] of Object.entries(methods)) {
      const call = (args: Value[]) => {
        const names = named(args.at(-1));
        return method(own, names ? args.slice(0, -1) : args, names ?? new Map());
      };
      table.set(name, new Func(call));
    }
    // Code points, as Python counts.
    table.set('length', new Whole(Array.from(own).length));
    return table;
  },
});

type Evaluate = (this: Interpreter, node: never, environment: Environment) => Value;
const interpreter = Interpreter.prototype as unknown as Record<
  'evaluate' | 'evaluateBinaryExpression' | 'evaluateFor' | 'evaluateMemberExpression',
  Evaluate
> & {
  evaluateBlock(statements: readonly never[], environment: Environment): Value;
  applyFilter(operand: Value, filter: unknown, environment: Environment): Value;
  evaluateArguments(args: readonly unknown[], environment: Environment): [Value[], Map<string, Value>];
};
const { evaluate, evaluateBinaryExpression, evaluateFor, evaluateMemberExpression, applyFilter } = interpreter;

/** A node that has been evaluated. */
class Known {
  readonly type = 'Known';
  constructor(readonly held: Value) {}
}
const done = (value: Value) => new Known(value) as never;
interpreter.evaluate = function (node, environment) {
  const asked: unknown = node;
  return asked instanceof Known ? asked.held : evaluate.call(this, node, environment);
};

/** What a loop goes over: of a text its characters, and of what is undefined nothing. */
function listOf(value: Value): Value {
  if (value.type === 'StringValue') return texts(Array.from(value.value as string));
  return value.type === 'UndefinedValue' ? new List([]) : value;
}

interface Loop {
  iterable: { type: string; lhs: never };
}
interpreter.evaluateFor = function (node, environment) {
  const loop = node as Loop;
  const { type, lhs } = loop.iterable;
  const isFiltered = type === 'SelectExpression';
  const over = interpreter.evaluate.call(this, isFiltered ? lhs : (loop.iterable as never), environment);
  const list = done(listOf(over));
  const iterable = isFiltered ? { ...loop.iterable, lhs: list } : list;
  return evaluateFor.call(this, { ...loop, iterable } as never, environment);
};

/** Nodes that print nothing by themselves. */
const STATEMENTS = new Set(['Set', 'Macro', 'Comment', 'Break', 'Continue']);

interpreter.evaluateBlock = function (this: Interpreter, statements, environment) {
  let result = '';
  for (const statement of statements) {
    const value = interpreter.evaluate.call(this, statement, environment);
    if (value.type !== 'NullValue' || !STATEMENTS.has((statement as { type: string }).type)) result += printed(value);
  }
  return text(result);
};

/** What Python's dictionaries have beside their entries; after a full stop it goes first. */
const METHODS = new Set('clear copy fromkeys get items keys pop popitem setdefault update values'.split(' '));

interface Member {
  computed: boolean;
  object: never;
  property: { value?: unknown };
}
interpreter.evaluateMemberExpression = function (node, environment) {
  const { computed, object, property } = node as Member;
  let asked = node;
  if (!computed && METHODS.has(property.value as string)) {
    const held = interpreter.evaluate.call(this, object, environment);
    if (held.type === 'ObjectValue') {
      const lacks = () => {
        throw new Error(`dictionaries have no ${property.value as string} here`);
      };
      return held.builtins.get(property.value as string) ?? new Func(lacks);
    }
    asked = { ...(node as Member), object: done(held) } as never;
  }
  try {
    return evaluateMemberExpression.call(this, asked, environment);
  } catch (error) {
    // What has no such entry is undefined, whatever was asked for.
    if ((error as Error).message.startsWith('Cannot access property with non-string')) return nothing();
    throw error;
  }
};

interface Binary {
  operator: { value: string };
  left: never;
  right: never;
}
interpreter.evaluateBinaryExpression = function (node, environment) {
  const { operator, left, right } = node as Binary;
  if (operator.value === '==' || operator.value === '!=') {
    const [a, b] = [
      interpreter.evaluate.call(this, left, environment),
      interpreter.evaluate.call(this, right, environment),
    ];
    return new Truth(same(a, b) === (operator.value === '=='));
  }
  if (operator.value === '~') {
    const [a, b] = [
      interpreter.evaluate.call(this, left, environment),
      interpreter.evaluate.call(this, right, environment),
    ];
    return text(printed(a) + printed(b));
  }
  if (operator.value === '+') {
    const a = interpreter.evaluate.call(this, left, environment);
    const b = interpreter.evaluate.call(this, right, environment);
    const isText = a.type === 'StringValue';
    if (isText !== (b.type === 'StringValue')) throw new Error(`cannot add ${a.type} and ${b.type}`);
    if (isText) return text(`${a.value as string}${b.value as string}`);
    return evaluateBinaryExpression.call(
      this,
      { ...(node as Binary), left: done(a), right: done(b) } as never,
      environment,
    );
  }
  return evaluateBinaryExpression.call(this, node, environment);
};

/** The arguments of a filter. */
function argumentsOf(that: Interpreter, args: readonly unknown[], environment: Environment) {
  const evaluate = interpreter.evaluateArguments;
  const [positional, by] = evaluate.call(that, args, environment);
  return { positional, named: by };
}

interface Filter {
  type: string;
  value?: string;
  callee?: { value: string };
  args?: unknown[];
}
/** Filters that take whatever they are given for its text. */
const OF_TEXTS = new Set(['trim', 'upper', 'lower', 'title', 'capitalize', 'replace', 'indent', 'wordcount']);

interpreter.applyFilter = function (given, filter, environment) {
  let operand = given;
  const { type, value, callee, args = [] } = filter as Filter;
  const name = type === 'Identifier' ? value : callee?.value;
  if (name === 'tojson') {
    const { positional, named: by } = argumentsOf(this as never, args, environment);
    return text(jsonOf(operand, positional, by));
  }
  if (name === 'string') return text(printed(operand));
  if (operand.type === 'UndefinedValue') {
    if (name === 'length' || name === 'count') return new Whole(0);
    if (name === 'list' || name === 'items') return new List([]);
    if (name === 'join') return text('');
  }
  if (!Array.isArray(operand.value) && !(operand.value instanceof Map) && OF_TEXTS.has(name ?? '')) {
    operand = text(printed(operand));
  }
  if (name === 'join' && operand.type !== 'StringValue' && Array.isArray(operand.value)) {
    const { positional, named: by } = argumentsOf(this as never, args, environment);
    const attribute = textOf(by.get('attribute'), 'attribute');
    const parts = (operand.value as Value[]).map((one) =>
      attribute === undefined ? one : ((one.value as Map<string, Value>).get(attribute) ?? nothing()),
    );
    return text(parts.map(printed).join(textOf(positional[0] ?? by.get('d'), 'd') ?? ''));
  }
  if (operand.type === 'FloatValue' && name === 'int') return new Whole(Math.trunc(operand.value as number));
  if (operand.type !== 'StringValue') return applyFilter.call(this, operand, filter, environment);
  const own = operand.value as string;
  switch (name) {
    case 'indent': {
      const { positional, named: by } = argumentsOf(this as never, args, environment);
      const width = positional[0] ?? by.get('width');
      const prefix = width?.type === 'StringValue' ? (width.value as string) : ' '.repeat(wholeOf(width, 4));
      const isOn = (value: Value | undefined) => value?.value === true;
      return text(indent(own, prefix, isOn(positional[1] ?? by.get('first')), isOn(positional[2] ?? by.get('blank'))));
    }
    case 'trim':
      return methods.strip!(own, argumentsOf(this as never, args, environment).positional, new Map());
    case 'title':
      return text(titleFilter(own));
    case 'capitalize':
      return text(capitalize(own));
    case 'length':
    case 'count':
      return new Whole(Array.from(own).length);
    case 'list':
      return texts(Array.from(own));
    case 'first':
    case 'last': {
      const char = Array.from(own).at(name === 'first' ? 0 : -1);
      return char === undefined ? nothing() : text(char);
    }
    case 'reverse':
      return text(Array.from(own).reverse().join(''));
    case 'wordcount':
      return new Whole((own.match(/\p{L}[\p{L}\p{N}_]*|[\p{N}_][\p{L}\p{N}_]*/gu) ?? []).length);
    default:
      return applyFilter.call(this, operand, filter, environment);
  }
};
