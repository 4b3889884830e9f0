// Yes or no to a biomedical question (PubMedQA as prepared by qvac-rnd-fabric-llm-finetune), which the answers begin with, a rationale after it.
// QVAC publishes 79 to 88 % with a model of 1.7B. Base and adapter choose by likelihood, and generate.
//
//   npm run build && node bench/biomed.mjs TRAIN.json TEST.json [--model M] [--seeds 1,2,3] [-- further flags of loam tune]
import { join } from 'node:path';
import { commandLine } from './program.mjs';
import { inFolder, loam, printMeasures, printTraining } from './task.mjs';

const {
  values,
  positionals,
  further = [],
} = commandLine({
  model: { type: 'string', default: 'smollm2-135m' },
  seeds: { type: 'string', default: '1' },
  threads: { type: 'string', default: '1' },
});
const [train, test] = positionals;
if (!train || !test) throw new Error('usage: node bench/biomed.mjs TRAIN.json TEST.json');
const common = ['--model', values.model, '--threads', values.threads];

await inFolder(async (folder) => {
  for (const seed of values.seeds.split(',')) {
    const adapter = join(folder, `seed-${seed}.gguf`);
    printTraining(await loam(['tune', train, ...common, '--seed', seed, '--out', adapter, ...further]));
    const asked = [
      'eval',
      test,
      ...common,
      '--adapter',
      adapter,
      '--answers',
      '--choices',
      'yes,no',
      '--answer-tokens',
      '24',
    ];
    printMeasures(`${values.model}, seed ${seed}`, await loam(asked));
  }
});
