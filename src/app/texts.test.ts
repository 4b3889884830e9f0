import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { languages } from './logic/language.js';

/** Every text of the page is in every catalogue, and none stands in the page outside of `t`, `rich` and `plural`. */

const root = fileURLToPath(new URL('../../src/app/', import.meta.url));

/** Names, addresses and what stands for itself. */
const untranslated = new Set(['Loam', 'rsLoRA', 'x Wh', '(pointer: fine)', 'http://127.0.0.1:…/#token=…']);

/** What looks like a text and is none. A value in the middle of it is an x. */
const harmless: Readonly<Record<string, readonly string[]>> = {
  // Put into reasons of the server.
  'logic/columns.ts': ['the question', 'the answer', 'the text with it', 'the instructions'],
  'page/api.ts': ['Bearer x', 'Authorization', 'Content-Type', 'Accept'],
  'page/parts/manner.tsx': ['Base'],
  'page/screens/JobScreen.tsx': ['button primary'],
  'page/screens/AddData.tsx': ['question,answer\nWhen are you open?,From eight till four.'],
  'page/screens/AccessScreens.tsx': ['delete everything'],
};

/** Attributes and properties of this page's own parts whose text people read. */
const readable =
  /^(about|alt|aria-label|aria-description|backLabel|error|heading|hint|label|placeholder|tab|text|title|verb)$/;

interface Found {
  file: string;
  line: number;
  text: string;
}

interface Texts {
  keys: Map<string, Found>;
  faults: (Found & { why: string })[];
}

function sources(): string[] {
  const folders = ['logic', 'page', 'page/parts', 'page/screens'];
  const all = folders.flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`));
  return all.filter((file) => /\.tsx?$/.test(file) && !/\.test\.ts$|^logic\/language\.ts$/.test(file));
}

const letters = /\p{L}/u;
/** Two words, one that begins as a sentence does, or one that ends as a sentence does. */
const looksLikeText = /\p{L}[,.;:!?’”)]*\s+[“(]?\p{L}|^\s*\p{Lu}\p{Ll}+[.…!?:]?\s*$|\p{Ll}[.…!?]\s*$/u;

const named = (node: ts.Node | undefined, ...names: string[]): node is ts.CallExpression =>
  node !== undefined && ts.isCallExpression(node) && names.includes(node.expression.getText());

/** The literals that an expression comes to: itself, or what it chooses between. */
function choices(node: ts.Expression): ts.Expression[] {
  if (ts.isParenthesizedExpression(node)) return choices(node.expression);
  return ts.isConditionalExpression(node) ? [...choices(node.whenTrue), ...choices(node.whenFalse)] : [node];
}

export function textsIn(file: string, source: string): Texts {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const keys: Texts['keys'] = new Map();
  const faults: Texts['faults'] = [];
  const at = (node: ts.Node, text: string): Found => ({
    file,
    line: tree.getLineAndCharacterOfPosition(node.getStart()).line + 1,
    text,
  });
  const fault = (node: ts.Node, text: string, why: string) => faults.push({ ...at(node, text), why });

  /** A key, and the values that it is given. */
  const take = (key: ts.Expression, values: ts.Expression | undefined, given: readonly string[]) => {
    for (const one of choices(key)) {
      if (!ts.isStringLiteralLike(one)) {
        fault(one, one.getText(), 'a key is a literal');
        continue;
      }
      keys.set(one.text, at(one, one.text));
      if (values && !ts.isObjectLiteralExpression(values)) continue;
      if (values?.properties.some(ts.isSpreadAssignment)) continue;
      const names = [...given, ...(values?.properties.map((property) => property.name!.getText()) ?? [])].sort();
      const wanted = [...placeholders(one.text)].sort();
      if (given.length === 0 || wanted.length > 0) {
        if (String(names) !== String(wanted)) fault(one, one.text, `is given: ${names.join(', ') || 'nothing'}`);
      }
    }
  };

  const isTextual = (node: ts.Node, text: string): boolean => {
    if (!letters.test(text) || untranslated.has(text.trim()) || harmless[file]?.includes(text)) return false;
    let [child, parent] = [node, node.parent];
    while (
      ts.isParenthesizedExpression(parent) ||
      (ts.isConditionalExpression(parent) && parent.condition !== child) ||
      (ts.isBinaryExpression(parent) && /^(\?\?|\|\||&&|\+)$/.test(parent.operatorToken.getText())) ||
      ts.isArrayLiteralExpression(parent) ||
      ts.isTemplateSpan(parent) ||
      ts.isTemplateExpression(parent)
    ) {
      [child, parent] = [parent, parent.parent];
    }
    if (ts.isJsxExpression(parent)) parent = parent.parent;
    if (ts.isJsxAttribute(parent)) {
      const name = parent.name.getText();
      const isEntry = name === 'name' && parent.parent.parent.tagName.getText() === 'Entry';
      return isEntry || name === 'what' || readable.test(name);
    }
    // What stands between tags is read.
    if (ts.isJsxElement(parent) || ts.isJsxFragment(parent)) {
      return !(ts.isJsxElement(parent) && /^(code|pre)$/.test(parent.openingElement.tagName.getText()));
    }
    const isName =
      ts.isImportDeclaration(parent) ||
      ts.isExportDeclaration(parent) ||
      ts.isLiteralTypeNode(parent) ||
      ts.isCaseClause(parent) ||
      ts.isElementAccessExpression(parent) ||
      ts.isBinaryExpression(parent) ||
      (ts.isCallExpression(parent) && /\.(startsWith|endsWith|includes|has)$/.test(parent.expression.getText())) ||
      (ts.isPropertyAssignment(parent) && parent.name === child) ||
      (ts.isNewExpression(parent) && /^(TypeError|DOMException|Event)$/.test(parent.expression.getText()));
    if (isName) return false;
    if (ts.isPropertyAssignment(parent) && readable.test(parent.name.getText())) return true;
    return named(parent, 'announce', 'deleteLater', 'offerUndo') || looksLikeText.test(text);
  };

  const visit = (node: ts.Node): void => {
    if (named(node, 't', 'rich', 'plural')) {
      const [first, second, third, fourth] = node.arguments;
      const isPlural = node.expression.getText() === 'plural';
      if (isPlural) {
        if (second) take(second, fourth, ['n']);
        if (third) take(third, fourth, ['n']);
        else fault(node, node.getText(), 'has no text for many');
      } else take(first!, second, []);
      let holder: ts.Node | undefined = node.parent;
      while (holder && !ts.isFunctionLike(holder)) holder = holder.parent;
      if (!holder) fault(node, node.getText(), 'is translated before the language is known');
      for (const [i, argument] of node.arguments.entries()) {
        if (i > (isPlural ? 2 : 0) || (isPlural && i === 0)) visit(argument);
        else if (!choices(argument).every(ts.isStringLiteralLike)) visit(argument);
      }
      return;
    }
    if (ts.isJsxText(node)) {
      const text = node.text.trim();
      const { parent } = node;
      const isCode = ts.isJsxElement(parent) && parent.openingElement.tagName.getText() === 'code';
      if (letters.test(text) && !isCode && !untranslated.has(text)) fault(node, text, 'stands in the page itself');
      return;
    }
    if (ts.isStringLiteralLike(node) && isTextual(node, node.text)) fault(node, node.text, 'is not translated');
    if (ts.isTemplateExpression(node)) {
      const parts = [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)];
      const text = parts.join('x');
      if (letters.test(parts.join('')) && isTextual(node, text)) fault(node, text, 'is not translated');
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return { keys, faults };
}

function placeholders(text: string): Set<string> {
  return new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!));
}

const texts: Texts = { keys: new Map(), faults: [] };
for (const file of sources()) {
  const { keys, faults } = textsIn(file, readFileSync(join(root, file), 'utf8'));
  for (const [key, where] of keys) texts.keys.set(key, where);
  texts.faults.push(...faults);
}
it('all that people read on the page goes through the catalogue', () => {
  assert.deepEqual(
    texts.faults.map(({ file, line, text, why }) => `${file}:${line}: “${text}” ${why}`),
    [],
  );
  assert.ok(texts.keys.size > 300);
});

for (const language of Object.keys(languages).filter((one) => one !== 'en')) {
  it(`${language}: every text of the page and no other, with its placeholders, in order`, () => {
    const text = readFileSync(join(root, 'page', 'static', 'languages', `${language}.json`), 'utf8');
    const catalogue = JSON.parse(text) as Record<string, string>;
    const keys = Object.keys(catalogue);
    assert.deepEqual(
      [...texts.keys.values()].filter(({ text: key }) => !(key in catalogue)).map((one) => `${one.file}: ${one.text}`),
      [],
      'texts that are not translated',
    );
    assert.deepEqual(
      keys.filter((key) => !texts.keys.has(key)),
      [],
      'texts that the page no longer has',
    );
    const wrong = keys.filter(
      (key) => String([...placeholders(key)].sort()) !== String([...placeholders(catalogue[key]!)].sort()),
    );
    assert.deepEqual(wrong, [], 'other placeholders');
    assert.deepEqual(
      keys.filter((key) => catalogue[key]!.trim() === '' || catalogue[key] !== catalogue[key]!.trim()),
      [],
      'empty, or with space around it',
    );
    assert.deepEqual(keys, [...keys].sort());
    assert.equal(text, `${JSON.stringify(catalogue, null, 2)}\n`, 'a key twice, or another layout');
  });
}
