import { readFile } from 'node:fs/promises';
import { bytes } from '../../base/format.js';
import { defaults } from '../../base/options.js';
import { packagePath } from '../../base/package.js';
import { loamHome } from '../../base/process.js';
import { ChatSession } from '../../llama/ChatSession.js';
import { samplingOptions } from '../../llama/sampling.js';
import { DEFAULT_MODEL, findModel } from '../../models/catalogue.js';
import { fetchModel } from '../../models/fetchModel.js';
import { listModels } from '../../models/listModels.js';
import { tuneOptions } from '../../train/options.js';
import { tune } from '../../train/tune.js';
import { command, jsonOption } from '../command.js';
import type { Output } from '../output.js';
import { showFetch, showResult, showTune } from '../show.js';

/** A question that the examples answer, in words that are in none of them. */
interface DemoPrompt {
  instruction: string;
  /** The facts of a right answer, as the examples state them. */
  expect: string[];
}

/**
 * Her voice and her facts in a few minutes: as many layers and passes as this machine trains in the time (about 12 layers and two
 * passes on two old cores). `loam tune` by itself takes longer and gets further.
 */
const settings = { method: 'qlora', budget: 200 } as const;

const asset = (name: string) => packagePath(`assets/examples/${name}`);

export const demoCommand = command({
  name: 'demo',
  summary: 'Fetches the default model, tunes it on bundled examples and shows answers before and after.',
  usage: '[--restart]',
  options: { restart: tuneOptions.restart, ...jsonOption },
  positionals: [0, 0],
  async run({ options: { restart }, output, signal }) {
    const { models } = await listModels();
    const model = models.find((m) => m.name === DEFAULT_MODEL)!;
    if (!model.installed) {
      output.line(
        `Fetching the default model ${model.title} (${bytes(model.size)}), once; nothing else uses the network.`,
      );
      await showFetch(fetchModel(findModel(DEFAULT_MODEL), { signal }), output);
    }
    output.line(
      'Mara mends bicycles and bakes bread in an invented town. The model has never heard of her; it will learn',
    );
    output.line('how she talks, and the facts of her days, from 260 examples of hers.');
    output.line();
    const out = loamHome('demo', 'mara-lora.gguf');
    const options = { ...defaults(tuneOptions), ...settings, heldout: asset('mara-heldout.json'), out, restart };
    const result = await showTune(tune(asset('mara-train.json'), options, signal), output);
    showResult(result, output);
    await compare(model.path, out, output, signal);
    output.line(`\nTalk to it yourself:  loam chat --adapter ${out}`);
    output.line('Tune on your own data:  loam tune my-examples.json');
    output.event(result);
  },
});

/** The same questions to the model alone and with the adapter, most likely answers only, and how many hold the facts. */
async function compare(modelPath: string, adapterPath: string, output: Output, signal: AbortSignal): Promise<void> {
  const prompts = JSON.parse(await readFile(asset('mara-prompts.json'), 'utf8')) as DemoPrompt[];
  using session = await ChatSession.open({ modelPath, adapters: [{ path: adapterPath }], contextLength: 1024 });
  const sampling = { ...defaults(samplingOptions), temperature: 0, maxTokens: 40 };
  const ask = async (text: string, adapted: boolean) => {
    session.setAdapted(adapted);
    return (await session.answer([{ role: 'user', content: text }], sampling, signal).result).trim();
  };
  const right = { before: 0, after: 0 };
  for (const { instruction, expect } of prompts) {
    const [before, after] = [await ask(instruction, false), await ask(instruction, true)];
    const holds = (answer: string) => expect.every((fact) => answer.toLowerCase().includes(fact.toLowerCase()));
    right.before += Number(holds(before));
    right.after += Number(holds(after));
    output.line();
    output.line(`> ${instruction}`);
    for (const row of sideBySide('before', before, 'after', after)) output.line(row);
    output.event({ type: 'comparison', prompt: instruction, before, after, right: [holds(before), holds(after)] });
  }
  const all = prompts.length;
  output.line(`\nanswers with the right fact: ${right.before} of ${all} before, ${right.after} of ${all} after`);
}

/** Two texts in columns on a wide terminal, one under the other on a phone's. */
export function sideBySide(
  leftTitle: string,
  left: string,
  rightTitle: string,
  right: string,
  width = process.stderr.columns ?? 80,
): string[] {
  if (width < 72) {
    return [...wrap(`${leftTitle}: ${left}`, width - 2), ...wrap(`${rightTitle}: ${right}`, width - 2)].map(
      (l) => `  ${l}`,
    );
  }
  const column = Math.floor((Math.min(width, 120) - 7) / 2);
  const [a, b] = [wrap(left, column), wrap(right, column)];
  const rows = Array.from(
    { length: Math.max(a.length, b.length) },
    (_, i) => `  ${(a[i] ?? '').padEnd(column)} | ${b[i] ?? ''}`,
  );
  return [`  ${leftTitle.padEnd(column)} | ${rightTitle}`, `  ${'-'.repeat(column)} | ${'-'.repeat(column)}`, ...rows];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else {
        line = line === '' ? word : `${line} ${word}`;
      }
    }
    lines.push(line);
  }
  return lines;
}
