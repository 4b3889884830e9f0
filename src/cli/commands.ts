import type { Command } from './command.js';
import { adaptersCommand } from './commands/adapters.js';
import { chatCommand } from './commands/chat.js';
import { dataCommand } from './commands/data.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { evalCommand } from './commands/eval.js';
import { modelsCommand } from './commands/models.js';
import { probeCommand } from './commands/probe.js';
import { redactCommand } from './commands/redact.js';
import { skillCommand } from './commands/skill.js';
import { tuneCommand } from './commands/tune.js';
import { vaultCommand } from './commands/vault.js';

/** Every command, in the order a newcomer meets them. */
export const commands: readonly Command[] = [
  demoCommand,
  modelsCommand,
  dataCommand,
  redactCommand,
  tuneCommand,
  skillCommand,
  evalCommand,
  chatCommand,
  probeCommand,
  adaptersCommand,
  vaultCommand,
  doctorCommand,
] as unknown as readonly Command[];
