import type { Command } from './command.js';
import { adaptersCommand } from './commands/adapters.js';
import { chatCommand } from './commands/chat.js';
import { convertCommand } from './commands/convert.js';
import { dataCommand } from './commands/data.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { embedCommand } from './commands/embed.js';
import { evalCommand } from './commands/eval.js';
import { jobsCommand } from './commands/jobs.js';
import { modelsCommand } from './commands/models.js';
import { packCommand } from './commands/pack.js';
import { serveCommand } from './commands/serve.js';
import { skillCommand } from './commands/skill.js';
import { solveCommand } from './commands/solve.js';
import { tuneCommand } from './commands/tune.js';
import { vaultCommand } from './commands/vault.js';

/** Every command, in the order a newcomer meets them. */
export const commands: readonly Command[] = [
  demoCommand,
  modelsCommand,
  dataCommand,
  tuneCommand,
  skillCommand,
  evalCommand,
  chatCommand,
  adaptersCommand,
  convertCommand,
  embedCommand,
  solveCommand,
  packCommand,
  vaultCommand,
  serveCommand,
  jobsCommand,
  doctorCommand,
] as unknown as readonly Command[];
