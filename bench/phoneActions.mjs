// The worked example of docs/tools.md: twenty actions of a phone, 400 requests to learn from, 100 that are worded otherwise. What share of the
// calls is exactly right (name and arguments), before and after.
//
//   npm run build && node bench/phoneActions.mjs [--model M] [--seed 1] [--form list|heart] [--more DROIDCALL.jsonl] [-- further flags of loam tune]
//   node bench/phoneActions.mjs --write FOLDER                     # only writes learn.jsonl and unseen.jsonl
//
// `list`: each conversation has all the tools, as an app sends them. `heart`: none, and the model learns them by heart; its prompt is 40
// tokens instead of 1,600. `--more`: the 24 functions of DroidCall (MIT; name, description, arguments a line) are offered beside the twenty when
// the unseen requests are asked; nothing is learnt of them.
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { actions } from './phoneActions/actions.mjs';
import { makeExamples } from './phoneActions/examples.mjs';
import { commandLine } from './program.mjs';
import { inFolder, loam, printMeasures, printTraining, writeRecords } from './task.mjs';

const { values, further = ['--method', 'qlora', '--batch', '8', '--epochs', '4', '--runs', '1'] } = commandLine(
  {
    model: { type: 'string', default: 'smollm2-135m' },
    seed: { type: 'string', default: '1' },
    form: { type: 'string', default: 'heart' },
    more: { type: 'string' },
    write: { type: 'string' },
    threads: { type: 'string', default: '1' },
    adapter: { type: 'string' },
  },
  { allowPositionals: false },
);
const own = actions.map(({ tool }) => tool);
const offered = values.more ? [...own, ...(await droidCall(values.more))] : own;
const withoutTools = ({ messages }) => ({ messages });
const { learn } = makeExamples({ tools: own });
const { unseen } = makeExamples({ tools: offered });

if (values.write) {
  await mkdir(values.write, { recursive: true });
  await writeRecords(join(values.write, 'learn.jsonl'), learn);
  await writeRecords(join(values.write, 'unseen.jsonl'), unseen);
} else {
  await inFolder(async (folder) => {
    const at = (name) => join(folder, name);
    const common = ['--model', values.model, '--threads', values.threads, '--max-tokens', '8192'];
    const isList = values.form === 'list';
    await writeRecords(at('learn.jsonl'), isList ? learn : learn.map(withoutTools));
    await writeRecords(at('listed.jsonl'), unseen);
    await writeRecords(at('bare.jsonl'), unseen.map(withoutTools));
    let { adapter } = values;
    if (!adapter) {
      adapter = at('adapter.gguf');
      const args = ['tune', at('learn.jsonl'), ...common, '--seed', values.seed, '--out', adapter, ...further];
      printTraining(await loam(args));
    }
    // The base model needs the list; an adapter that has learnt it by heart does not.
    for (const form of isList ? ['listed'] : ['listed', 'bare']) {
      const result = await loam(['eval', at(`${form}.jsonl`), ...common, '--adapter', adapter, '--answers']);
      printMeasures(
        `${values.model}, seed ${values.seed}, tools ${form}, ${form === 'listed' ? offered.length : 0} offered`,
        result,
      );
    }
  });
}

/** DroidCall's functions as tools: their arguments are Python's types. */
async function droidCall(path) {
  /** @type {[RegExp, object][]} */
  const types = [
    [/^(Optional\[)?(List|list)\b/, { type: 'array', items: { type: 'string' } }],
    [/^(Optional\[)?(Dict|dict)\b/, { type: 'object' }],
    [/^int/, { type: 'integer' }],
    [/^bool/, { type: 'boolean' }],
  ];
  const lines = (await readFile(path, 'utf8')).trim().split('\n');
  return lines.map((line) => {
    const { name, description, arguments: given = {} } = JSON.parse(line);
    const entries = Object.entries(given).map(([key, { type }]) => [
      key,
      types.find(([pattern]) => pattern.test(type))?.[1] ?? { type: 'string' },
    ]);
    const required = Object.keys(given).filter((key) => given[key].required);
    const sentence = description.trim().split(/\n|(?<=\.)\s/)[0];
    return {
      name,
      description: sentence,
      parameters: { type: 'object', properties: Object.fromEntries(entries), required },
    };
  });
}
