import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { memoryFile } from '../engine/memory.js';
import { type TensorTypeName, tensorTypes } from '../engine/tensorTypes.js';
import type { GgufValue } from '../formats/gguf/values.js';
import { ChatSession } from '../llama/ChatSession.js';
import { proveAdapter } from '../model/proof.js';
import { rounds } from '../testing/faults.js';
import { f32, f64, i32, str, u32, u64 } from '../testing/ggufValues.js';
import { assemble, changed, mutated, type Parts, partsOf } from '../testing/hostileModels.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { type GgufBase, openBase } from './base.js';
import { openAdapter } from './openAdapter.js';

/** Campaign 12: adapters that are wrong are refused by reason before native code, and the base still answers. */

const folder = scratchFolder();
const path = join(folder, 'adapter.gguf');
const question = [{ role: 'user', content: 'Hi' }] as const;
const sampling = { temperature: 0, topP: 1, repeatPenalty: 1, seed: 1, maxTokens: 4 };

const values = (count: number, value: number) => new Uint8Array(new Float32Array(count).fill(value).buffer);

/** An adapter of one matrix, every value of which is `value`. */
function adapter({
  alpha = f32(8) as GgufValue | undefined,
  value = 0.01,
  rank = 8,
  inputs = 64,
  outputs = 64,
} = {}): Parts {
  const name = 'blk.0.attn_q.weight';
  const metadata = new Map<string, GgufValue>([
    ['general.type', str('adapter')],
    ['general.architecture', str('llama')],
    ['adapter.type', str('lora')],
  ]);
  if (alpha) metadata.set('adapter.lora.alpha', alpha);
  const type = tensorTypes.f32;
  return {
    metadata,
    tensors: [
      { name: `${name}.lora_a`, type, shape: [inputs, rank], data: values(inputs * rank, value) },
      { name: `${name}.lora_b`, type, shape: [rank, outputs], data: values(outputs * rank, value) },
    ],
  };
}

const as = (name: TensorTypeName, which = 0) =>
  changed(adapter(), ({ tensors }) => {
    const type = tensorTypes[name];
    const tensor = tensors[which]!;
    const bytes = (tensor.shape.reduce((a, b) => a * b, 1) / type.blockSize) * type.typeSize;
    tensors[which] = { ...tensor, type, data: new Uint8Array(bytes).fill(3) };
  });
const one = (value: number, which: number) =>
  changed(adapter(), ({ tensors }) => {
    const data = values(512, 0.01);
    new Float32Array(data.buffer)[77] = value;
    tensors[which] = { ...tensors[which]!, data };
  });
const metadata = (key: string, value: GgufValue | undefined) =>
  changed(adapter(), (parts) => (value ? parts.metadata.set(key, value) : parts.metadata.delete(key)));

const hostile: Readonly<Record<string, readonly [parts: Parts, reason: RegExp]>> = {
  'alpha as u32': [adapter({ alpha: u32(8) }), /adapter\.lora\.alpha is a u32 \(8\), expected a finite f32/],
  'alpha as i32': [adapter({ alpha: i32(8) }), /adapter\.lora\.alpha is a i32/],
  'alpha as u64': [adapter({ alpha: u64(8) }), /adapter\.lora\.alpha is a u64/],
  'alpha as f64': [adapter({ alpha: f64(8) }), /adapter\.lora\.alpha is a f64/],
  'alpha as text': [adapter({ alpha: str('8') }), /adapter\.lora\.alpha is a string/],
  'alpha of NaN': [adapter({ alpha: f32(Number.NaN) }), /alpha is NaN/],
  'an infinite alpha': [adapter({ alpha: f32(Number.POSITIVE_INFINITY) }), /alpha is Infinity/],
  'alpha of 3e38': [adapter({ alpha: f32(3e38) }), /attn_q.* corrects weights by up to 3e\+34/],
  'alpha of 1e20': [adapter({ alpha: f32(1e20) }), /corrects weights by up to/],
  'alpha of -1e30': [adapter({ alpha: f32(-1e30) }), /corrects weights by up to/],
  'factors whose product is infinite': [adapter({ value: 1e30 }), /corrects weights by up to/],
  'a factor that alpha makes infinite': [adapter({ value: 1e20, alpha: f32(1e20) }), /corrects weights by up to/],
  'NaN in A': [one(Number.NaN, 0), /attn_q.* holds values that are not finite/],
  'NaN in B': [one(Number.NaN, 1), /holds values that are not finite/],
  'infinity in A': [one(Number.POSITIVE_INFINITY, 0), /holds values that are not finite/],
  '-infinity in B': [one(Number.NEGATIVE_INFINITY, 1), /holds values that are not finite/],
  'a width of another model': [adapter({ inputs: 32 }), /lora_a is \[32, 8\], expected \[64, rank\]/],
  'a height of another model': [adapter({ outputs: 32 }), /lora_b is \[8, 32\], expected \[rank, 64\]/],
  'a rank beyond the limit': [adapter({ rank: 2048 }), /rank 2048, expected at most/],
  'ranks that differ': [
    changed(adapter(), ({ tensors }) => {
      tensors[1] = { ...tensors[1]!, shape: [4, 64], data: values(256, 0) };
    }),
    /rank 8 in lora_a and 4 in lora_b/,
  ],
  'A without B': [changed(adapter(), ({ tensors }) => tensors.splice(1, 1)), /has no lora_b/],
  'B without A': [changed(adapter(), ({ tensors }) => tensors.splice(0, 1)), /has no lora_a/],
  'no factors': [changed(adapter(), ({ tensors }) => tensors.splice(0, 2)), /holds no lora_a/],
  'A as i8': [as('i8'), /stored as i8/],
  'A as i64': [as('i64'), /stored as i64/],
  'A as f64': [as('f64'), /stored as f64/],
  'A as q8_1': [as('q8_1'), /stored as q8_1/],
  'a layer that is not there': [
    changed(adapter(), ({ tensors }) => {
      for (const [i, tensor] of tensors.entries())
        tensors[i] = { ...tensor, name: tensor.name.replace('blk.0', 'blk.99') };
    }),
    /corrects nothing/,
  ],
  'another family': [metadata('general.architecture', str('qwen2')), /architecture "qwen2"/],
  'a family as a number': [metadata('general.architecture', u32(1)), /expected a string/],
  'no family': [metadata('general.architecture', undefined), /missing/],
  'another base': [metadata('loam.base.fingerprint', str('0'.repeat(64))), /another base model/],
  'a model': [metadata('general.type', str('model')), /not an adapter/],
  'another kind of adapter': [metadata('adapter.type', str('control')), /another kind than LoRA/],
  'a kind as a number': [metadata('adapter.type', u32(1)), /expected a string/],
};

async function base(): Promise<GgufBase> {
  return await openBase(await writeTinyModel(join(folder, 'base.gguf')));
}

it('hostile adapters are refused by reason, and the base still answers', async (t) => {
  const model = await base();
  using chat = await ChatSession.open({ modelPath: model.path, contextLength: 128 });
  const answer = () => chat.answer(question, sampling).result;
  const before = await answer();
  for (const [name, [parts, reason]] of Object.entries(hostile)) {
    writeFileSync(path, await assemble(parts));
    await assert.rejects(chat.addAdapter('hostile', path), (error: unknown) => {
      assert.ok(error instanceof LoamError, `${name}: ${error}`);
      assert.match(error.message, reason, name);
      return true;
    });
  }
  assert.equal(await answer(), before);
  // A sound one still goes on.
  writeFileSync(path, await assemble(adapter()));
  await chat.addAdapter('sound', path);
  const count = Object.keys(hostile).length;
  t.diagnostic(`campaign 12: tried ${count}, survived ${count}`);
});

it('an adapter that is cut off anywhere is refused', async (t) => {
  const model = await base();
  const whole = await assemble(adapter());
  let tried = 0;
  for (let length = 0; length < whole.length; length += rounds(97, 3)) {
    writeFileSync(path, whole.subarray(0, length));
    await assert.rejects(openAdapter(path, model, { only: 'gguf' }), LoamError);
    tried++;
  }
  t.diagnostic(`campaign 12, cut off: tried ${tried}, survived ${tried}`);
});

it('without the checks native code dies of one, in a process of its own, and the file is named', async () => {
  const model = await base();
  const bytes = await assemble(adapter({ alpha: u32(8) }));
  writeFileSync(path, bytes);
  // As it is sent to a server.
  await using sent = await memoryFile(bytes);
  for (const file of [path, sent.path]) {
    const request = { model: model.path, adapter: file, vocabulary: model.hyper.vocabulary, isNew: true };
    await assert.rejects(proveAdapter(request, { home: folder }), (error: unknown) => {
      assert.ok(error instanceof LoamError && error.code === 'process-died', `${error}`);
      assert.equal(error.fault.where, file);
      assert.match(error.message, /: the process that tried this adapter was ended by the system \(SIGABRT\)/);
      return true;
    });
  }
});

it('what the checks take of mutants, native code takes too', async (t) => {
  const model = await base();
  const random = new Random(12);
  writeFileSync(path, await assemble(adapter()));
  const seed = await partsOf(path);
  const tally = { refused: 0, proven: 0, notFinite: 0 };
  for (let i = 0; i < rounds(200, 20_000); i++) {
    const bytes = await assemble(mutated(random, seed)).catch(() => undefined);
    if (bytes === undefined) continue;
    if (random.below(2) === 0) bytes[random.below(700)]! ^= 1 << random.below(8);
    writeFileSync(path, bytes);
    try {
      await openAdapter(path, model, { only: 'gguf' });
    } catch (error) {
      assert.ok(error instanceof LoamError, `${error}`);
      tally.refused++;
      continue;
    }
    if (random.below(rounds(10, 100)) > 0) continue;
    const request = { model: model.path, adapter: path, vocabulary: model.hyper.vocabulary };
    try {
      await proveAdapter(request, { home: folder });
      tally.proven++;
    } catch (error) {
      // Activations rounded to f16 may overflow on this base alone: stated, and no death.
      assert.ok(error instanceof LoamError && error.code === 'damaged', `${error}`);
      tally.notFinite++;
    }
  }
  assert.ok(tally.refused > 0 && tally.proven > 0, JSON.stringify(tally));
  assert.ok(readFileSync(path).length > 0);
  t.diagnostic(`campaign 12, mutants: ${JSON.stringify(tally)}`);
});
