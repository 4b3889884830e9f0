// Banking77 (Casanueva et al. 2020): which of 77 intents a customer's message to a bank has. The answer is the intent's name; the model is
// told none of the names. Base and adapter choose by likelihood among the 77 and generate. A QLoRA of Llama-3.2-1B is published with
// 90.2 %.
//
//   npm run build && node bench/banking77.mjs TRAIN.csv TEST.csv [--model M] [--rows 3080] [--seed 1] [--limit N] [-- further flags of loam tune]
//
// The data (columns text, category) is not part of the repository. The rows to learn from are drawn by the seed; a tenth of them is held out
// by `loam tune`, so that no setting is chosen on the test set.
import { join } from 'node:path';
import { commandLine } from './program.mjs';
import { inFolder, loam, printMeasures, printTraining, readPairs, shuffle, writeRecords } from './task.mjs';

const {
  values,
  positionals,
  further = ['--method', 'qlora', '--batch', '8', '--epochs', '2', '--runs', '1'],
} = commandLine({
  model: { type: 'string', default: 'smollm2-135m' },
  rows: { type: 'string', default: '3080' },
  seed: { type: 'string', default: '1' },
  threads: { type: 'string', default: '1' },
  limit: { type: 'string' },
  adapter: { type: 'string' },
});
const [train, test] = positionals;
if (!train || !test) throw new Error('usage: node bench/banking77.mjs TRAIN.csv TEST.csv');
const system = "Name the intent of the customer's message to a bank.";
const record = ([prompt, completion]) => ({ system, prompt, completion });
const columns = 'question=text,answer=category';
const common = ['--model', values.model, '--threads', values.threads];

await inFolder(async (folder) => {
  const at = (name) => join(folder, name);
  const rows = shuffle(await readPairs(train, columns), Number(values.seed)).slice(0, Number(values.rows));
  await writeRecords(at('train.jsonl'), rows.map(record));
  await writeRecords(at('test.jsonl'), (await readPairs(test, columns)).map(record));
  let { adapter } = values;
  if (!adapter) {
    adapter = at('adapter.gguf');
    const args = ['tune', at('train.jsonl'), ...common, '--seed', values.seed, '--out', adapter, ...further];
    printTraining(await loam(args));
  }
  const limit = values.limit ? ['--limit', values.limit] : [];
  const asked = [
    'eval',
    at('test.jsonl'),
    ...common,
    '--adapter',
    adapter,
    '--answers',
    '--choices',
    'answers',
    ...limit,
  ];
  printMeasures(`${values.model}, seed ${values.seed}, ${rows.length} rows`, await loam(asked));
});
