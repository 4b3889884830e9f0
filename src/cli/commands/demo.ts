import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bytes } from '../../base/format.js';
import { defaults } from '../../base/options.js';
import { loamHome } from '../../base/process.js';
import { ChatSession, samplingOptions } from '../../llama/ChatSession.js';
import { DEFAULT_MODEL, findModel } from '../../models/catalogue.js';
import { fetchModel } from '../../models/fetchModel.js';
import { listModels } from '../../models/listModels.js';
import { tuneOptions } from '../../train/options.js';
import { tune } from '../../train/tune.js';
import { command, jsonOption } from '../command.js';
import type { Output } from '../output.js';
import { showFetch, showResult, showTune } from '../show.js';

interface DemoPrompt {
  instruction: string;
  /** Words of a right answer. */
  expect: string[];
}

/** Prompts shown before and after. */
const shown = 3;

/**
 * Her voice and her facts in a few minutes: as many layers and passes as this machine trains in the time (about 12 layers and two
 * passes on two old cores). `loam tune` by itself takes longer and gets further.
 */
const settings = { method: 'qlora', budget: 200 } as const;

const asset = (name: string) => fileURLToPath(new URL(`../../../assets/examples/${name}`, import.meta.url));

export const demoCommand = command({
  name: 'demo',
  summary: 'Fetches the default model, tunes it on bundled example data and shows answers before and after.',
  usage: '',
  options: jsonOption,
  positionals: [0, 0],
  async run({ output, signal }) {
    const { models } = await listModels();
    const model = models.find((m) => m.name === DEFAULT_MODEL)!;
    if (!model.installed) {
      output.line(
        `The default model ${model.title} (${bytes(model.size)}) is fetched once; nothing else uses the network.`,
      );
      await showFetch(fetchModel(findModel(DEFAULT_MODEL), { signal }), output);
    }
    output.line(
      'Mara mends bicycles and bakes bread in an invented town. The model has never heard of her; it will learn',
    );
    output.line('how she talks, and the facts of her days, from 260 examples of hers.');
    output.line();
    const out = loamHome('demo', 'mara-lora.gguf');
    const options = { ...defaults(tuneOptions), ...settings, heldout: asset('mara-heldout.json'), out, restart: true };
    const result = await showTune(tune(asset('mara-train.json'), options, signal), output);
    showResult(result, output);
    await compare(model.path, out, output, signal);
    output.line(`\nTalk to it yourself:  loam chat --adapter ${out}`);
    output.line('Tune on your own data:  loam tune my-examples.json');
    output.event(result);
  },
});

async function compare(modelPath: string, adapterPath: string, output: Output, signal: AbortSignal): Promise<void> {
  const prompts = JSON.parse(await readFile(asset('mara-prompts.json'), 'utf8')) as DemoPrompt[];
  using session = await ChatSession.open({ modelPath, adapterPath, contextLength: 1024 });
  const sampling = { ...defaults(samplingOptions), temperature: 0, maxTokens: 40 };
  const ask = async (text: string, adapted: boolean) => {
    session.setAdapted(adapted);
    return (await session.answer([{ role: 'user', content: text }], sampling, signal).result).trim();
  };
  for (const { instruction } of prompts.slice(0, shown)) {
    const [before, after] = [await ask(instruction, false), await ask(instruction, true)];
    output.line();
    output.line(`> ${instruction}`);
    for (const row of sideBySide('before', before, 'after', after)) output.line(row);
    output.event({ type: 'comparison', prompt: instruction, before, after });
  }
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
