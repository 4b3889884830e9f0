import type { Command } from './command.js';
import { adaptersCommand } from './commands/adapters.js';
import { chatCommand } from './commands/chat.js';
import { dataCommand } from './commands/data.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { evalCommand } from './commands/eval.js';
import { jobsCommand } from './commands/jobs.js';
import { modelsCommand } from './commands/models.js';
import { serveCommand } from './commands/serve.js';
import { skillCommand } from './commands/skill.js';
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
  vaultCommand,
  serveCommand,
  jobsCommand,
  doctorCommand,
] as unknown as readonly Command[];
