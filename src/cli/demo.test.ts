import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';

interface Example {
  instruction: string;
  output: string;
}

function read<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../assets/examples/${name}`, import.meta.url), 'utf8')) as T[];
}

it("the demo's questions are in words that no example has, and many examples state the facts of the answers", () => {
  const train = read<Example>('mara-train.json');
  const seen = new Set([...train, ...read<Example>('mara-heldout.json')].map(({ instruction }) => instruction));
  const prompts = read<{ instruction: string; expect: string[] }>('mara-prompts.json');
  assert.ok(prompts.length >= 3 && prompts.length <= 4);
  for (const { instruction, expect } of prompts) {
    assert.ok(!seen.has(instruction), instruction);
    const stated = train.filter(({ output }) => expect.every((fact) => output.includes(fact)));
    assert.ok(expect.length > 0 && stated.length >= 10, `${instruction}: ${stated.length}`);
  }
});
