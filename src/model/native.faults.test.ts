import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { afterAwake, startChild } from '../base/child.js';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { type FamilyName, families } from '../families/index.js';
import { familyVariants } from '../testing/familyVariants.js';
import { rounds } from '../testing/faults.js';
import { assemble, changed, hostileChanges, mutated, type Parts, partsOf, pieces } from '../testing/hostileModels.js';
import { parse } from '../testing/rawGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { readHyperparameters } from './hyperparameters.js';
import { type ProofReport, type ProofRequest, proveModel } from './proof.js';

/** Campaign 11: hostile model files and mutants, metadata and types included, against the checks and, where those pass, native code. */

const n = 265;
const program = fileURLToPath(new URL('./proofWorker.js', import.meta.url));

/** All checks on a file in memory, before native code. */
async function check(bytes: Uint8Array): Promise<'accepted' | 'refused'> {
  try {
    readHyperparameters(await parse(bytes));
    return 'accepted';
  } catch (error) {
    if (error instanceof LoamError) return 'refused';
    throw error;
  }
}

/** Tries files in libllama, one process for as many as it survives. */
class Wall implements Disposable {
  private child = this.start();
  private heard: (what: 'proven' | 'refused' | 'died') => void = () => {};

  private start() {
    const child = startChild(program, { kind: 'trial' });
    child.once('close', () => this.heard('died'));
    child.on('message', ({ type }: ProofReport) => {
      if (type === 'proven') this.heard('proven');
      if (type === 'failed') this.heard('refused');
    });
    return child;
  }

  /** `died`: of what it is about, or of the time that it took. */
  async try(path: string): Promise<'proven' | 'refused' | 'died'> {
    const stop = afterAwake(20_000, () => this.child.kill('SIGKILL'));
    const outcome = await new Promise<'proven' | 'refused' | 'died'>((resolve) => {
      this.heard = resolve;
      this.child.send({ model: path } satisfies ProofRequest, () => {});
    });
    stop();
    if (outcome === 'died') this.child = this.start();
    return outcome;
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
  }
}

async function tiny(family: FamilyName, change: Parts['metadata'] | undefined = undefined): Promise<Parts> {
  const path = join(scratchFolder(), 'm.gguf');
  const metadata = change && Object.fromEntries(change);
  return await partsOf(
    await writeTinyModel(path, {
      family,
      layers: 2,
      embedding: 32,
      heads: 2,
      kvHeads: 2,
      headDim: 16,
      feedForward: 32,
      metadata,
    }),
  );
}

it('what native code would trust is refused before it', async (t) => {
  let tried = 0;
  for (const family of [...families.keys()] as FamilyName[]) {
    const parts = await tiny(family);
    assert.equal(await check(await assemble(parts)), 'accepted', family);
    for (const [name, change] of Object.entries(hostileChanges(n, family))) {
      const bytes = await assemble(changed(parts, change));
      assert.equal(await check(bytes), 'refused', `${family}: ${name}`);
      tried++;
    }
  }
  const path = await writeTinyModel(join(scratchFolder(), 'm.gguf'), { family: 'gemma3', window: 8, period: 1 });
  assert.equal(await check(await assemble(await partsOf(path))), 'refused', 'a window that no layer has');
  tried++;
  t.diagnostic(`campaign 11, hostile files: tried ${tried}, survived ${tried}`);
});

it('a process in between bears what no check foresaw', async () => {
  const folder = scratchFolder();
  const path = join(folder, 'm.gguf');
  writeFileSync(path, await assemble(await tiny('llama')));
  await proveModel(path, { home: folder });
  // Weights that are no numbers pass every check of a header.
  const parts = await tiny('llama');
  const at = parts.tensors.findIndex(({ name }) => name === 'output_norm.weight');
  const data = new Uint8Array(Float32Array.from({ length: 32 }, () => Number.NaN).buffer);
  parts.tensors[at] = { ...parts.tensors[at]!, data };
  writeFileSync(path, await assemble(parts));
  await assert.rejects(proveModel(path, { home: folder }), /no finite numbers/);
});

/** What became of mutants; those that the checks take go through native code. */
async function mutants(t: TestContext, count: number, share: number): Promise<void> {
  using wall = new Wall();
  const random = new Random(11);
  const path = join(scratchFolder(), 'mutant.gguf');
  const tally = { refused: 0, proven: 0, refusedByLibrary: 0, died: 0 };
  const seeds: Parts[] = [];
  const whole = join(scratchFolder(), 'whole.gguf');
  for (const variant of familyVariants) seeds.push(await partsOf(await writeTinyModel(whole, variant)));
  const withPieces = await tiny('llama', new Map(Object.entries(pieces(n))));
  withPieces.metadata.delete('tokenizer.ggml.merges');
  seeds.push(withPieces);
  const died: string[] = [];
  for (let i = 0; i < count; i++) {
    const seed = seeds[i % seeds.length]!;
    const parts = mutated(random, seed);
    const bytes = await assemble(parts).catch(() => undefined);
    // The writer refuses some of what cannot be stored.
    if (bytes === undefined) continue;
    if (random.below(2) === 0) {
      for (let k = random.below(4); k > 0; k--) bytes[random.below(12_000)]! ^= 1 << random.below(8);
    }
    if ((await check(bytes)) === 'refused') {
      tally.refused++;
      continue;
    }
    if (random.below(share) > 0) continue;
    writeFileSync(path, bytes);
    const outcome = await wall.try(path);
    if (outcome === 'died') died.push(difference(seed, parts));
    tally[outcome === 'refused' ? 'refusedByLibrary' : outcome]++;
  }
  assert.ok(tally.refused > 0 && tally.proven > 0, JSON.stringify(tally));
  t.diagnostic(
    `campaign 11: tried ${count}, survived ${count}; ${JSON.stringify(tally)}${died.length > 0 ? `; ended in the wall: ${died.slice(0, 20).join(' | ')}` : ''}`,
  );
}

const shown = (value: unknown) =>
  (JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? String(v) : v)) ?? '').slice(0, 60);

function difference(seed: Parts, parts: Parts): string {
  const keys = [...new Set([...seed.metadata.keys(), ...parts.metadata.keys()])];
  const metadata = keys.filter((key) => seed.metadata.get(key) !== parts.metadata.get(key));
  const tensors = parts.tensors.filter((tensor) => !seed.tensors.includes(tensor));
  return [
    ...metadata.map((key) => `${key}=${shown(parts.metadata.get(key))}`),
    ...tensors.map(({ name, type, shape }) => `${name} ${type.name} [${shape}]`),
  ].join(', ');
}

it('mutants end in an answer or a stated refusal, and never this process', async (t) => {
  await mutants(t, rounds(1500, 100_000), rounds(4, 2));
});

it('what a refusal takes is little', async () => {
  const parts = await tiny('llama');
  const bytes = await assemble(changed(parts, hostileChanges(n, 'llama')['two tokens the same']!));
  const before = process.memoryUsage();
  for (let i = 0; i < 20; i++) assert.equal(await check(bytes), 'refused');
  const after = process.memoryUsage();
  assert.ok(after.rss - before.rss < 64 << 20, `${after.rss - before.rss} bytes`);
});

it('every member of every family passes the checks and the wall', async () => {
  const folder = scratchFolder();
  for (const [i, variant] of familyVariants.entries()) {
    if (i % rounds(5, 1) !== 0) continue;
    await proveModel(await writeTinyModel(join(folder, `${i}.gguf`), variant), { home: folder });
  }
});
