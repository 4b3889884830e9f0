import type { Command } from './command.js';

type Load = () => Promise<unknown>;

/** Every command, in the order a newcomer meets them. The code of a command is loaded when it is called: on a phone, all takes seconds. */
const loaders: Readonly<Record<string, Load>> = {
  demo: async () => (await import('./commands/demo.js')).demoCommand,
  models: async () => (await import('./commands/models.js')).modelsCommand,
  data: async () => (await import('./commands/data.js')).dataCommand,
  redact: async () => (await import('./commands/privacy.js')).redactCommand,
  tune: async () => (await import('./commands/tune.js')).tuneCommand,
  skill: async () => (await import('./commands/tune.js')).skillCommand,
  eval: async () => (await import('./commands/eval.js')).evalCommand,
  chat: async () => (await import('./commands/chat.js')).chatCommand,
  probe: async () => (await import('./commands/privacy.js')).probeCommand,
  adapters: async () => (await import('./commands/adapters.js')).adaptersCommand,
  convert: async () => (await import('./commands/convert.js')).convertCommand,
  embed: async () => (await import('./commands/steps.js')).embedCommand,
  solve: async () => (await import('./commands/steps.js')).solveCommand,
  pack: async () => (await import('./commands/steps.js')).packCommand,
  vault: async () => (await import('./commands/vault.js')).vaultCommand,
  serve: async () => (await import('./commands/serve.js')).serveCommand,
  keys: async () => (await import('./commands/keys.js')).keysCommand,
  jobs: async () => (await import('./commands/jobs.js')).jobsCommand,
  phone: async () => (await import('./commands/phone.js')).phoneCommand,
  doctor: async () => (await import('./commands/doctor.js')).doctorCommand,
};

/** Commands that never compute with a model themselves: they need no process of their own for it (`src/layers.test.ts`). */
export const withoutModels: readonly string[] = ['models', 'vault', 'serve', 'keys', 'jobs', 'phone', 'doctor'];

export const commandNames: readonly string[] = Object.keys(loaders);

/** @returns undefined if no command has this name */
export async function loadCommand(name: string): Promise<Command | undefined> {
  return Object.hasOwn(loaders, name) ? ((await loaders[name]!()) as Command) : undefined;
}

export async function loadCommands(): Promise<readonly Command[]> {
  return await Promise.all(Object.values(loaders).map(async (load) => (await load()) as Command));
}
