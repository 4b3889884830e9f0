import { LoamError, UsageError, underName } from '../base/errors.js';
import { Run } from '../base/events.js';
import { defaults } from '../base/options.js';
import { families } from '../families/index.js';
import { type ChatEvent, type Sampling, samplingOptions } from '../llama/ChatSession.js';
import type { ApiKey } from './contract/access.js';
import type { InferenceRequest } from './inference/InferenceProcess.js';
import type { Services } from './Services.js';

/** Who answers: base models and adapters by name, and what an answer takes. */

/** Tokens of conversation and answer together: as `loam chat`. */
const CONTEXT = 4096;

export interface Speaker {
  /** Name of the base model. */
  model: string;
  /** Id of an adapter version; null is the bare base. */
  version: string | null;
}

/** Sampling options, with defaults for those that are not given. */
export function samplingOf(given: Partial<Sampling> | undefined): Sampling {
  return { ...defaults(samplingOptions), ...given };
}

/** An answer of a model, as it is or wearing a version of an adapter. @throws LoamError */
export function answerWith(
  services: Services,
  speaker: Speaker,
  request: Pick<InferenceRequest, 'prompt' | 'sampling' | 'options'>,
  signal: AbortSignal,
): Run<ChatEvent, string> {
  return new Run(async (emit, inner) => {
    const model = await services.model(speaker.model);
    const { version } = speaker;
    if (version !== null) requireBase(version, model, services);
    const { path } = model;
    const wanted = { ...request, model: { path, contextLength: CONTEXT }, adapter: version ?? undefined };
    try {
      return await services.inference.answer(wanted, (id) => services.vault.adapters.read(id), inner).each(emit);
    } catch (error) {
      throw underName(asGreeting(error, request.prompt), path, model.name);
    }
  }, signal);
}

/** What a template that wants turns says of a conversation that the assistant begins, as the client can change it. */
function asGreeting(error: unknown, prompt: InferenceRequest['prompt']): unknown {
  const isGreeting = Array.isArray(prompt) && prompt.find(({ role }) => role !== 'system')?.role === 'assistant';
  if (!isGreeting || !(error instanceof LoamError) || error.code !== 'template') return error;
  const found = 'a conversation that begins with the assistant, which this model does not take';
  return new UsageError({ found, where: 'messages', fix: 'leave out the first message' }, { cause: error });
}

function requireBase(version: string, model: { name: string; sha256: string | null }, services: Services): void {
  const { lineage } = services.vault.adapters.version(version);
  if (model.sha256 === null || lineage.base.sha256 === model.sha256) return;
  throw new LoamError({
    code: 'mismatch',
    found: `this adapter belongs to the base model ${lineage.base.name}, not to ${model.name}`,
    fix: 'choose that model',
  });
}

export interface NamedSpeaker {
  /** What a client asks for. */
  id: string;
  model: string;
  version: string | null;
  /** Id of the adapter; absent for a base model. */
  adapter?: string;
  /** Seconds since 1970. */
  created: number;
  owner: string;
}

/**
 * Everything that can answer, by name: base models on this device; each adapter by its name (the version in use, or the bare base)
 * and each version as NAME@N. An adapter whose base model is not here is left out. A base model goes before an adapter of its name.
 */
export async function listSpeakers(services: Services): Promise<NamedSpeaker[]> {
  const { models } = await services.models();
  const usable = models.filter(
    ({ installed, entry }) => installed && (entry === null || families.has(entry.architecture)),
  );
  const speakers = new Map<string, NamedSpeaker>();
  const add = (speaker: NamedSpeaker) => {
    if (!speakers.has(speaker.id)) speakers.set(speaker.id, speaker);
  };
  for (const { name } of usable) add({ id: name, model: name, version: null, created: 0, owner: 'base' });
  if (services.vaultState !== 'open') return [...speakers.values()];
  for (const adapter of services.vault.adapters.list()) {
    const base = usable.find(({ sha256 }) => sha256 !== null && sha256 === adapter.model.sha256);
    if (!base) continue;
    const seconds = (iso: string) => Math.floor(Date.parse(iso) / 1000);
    const named = { model: base.name, adapter: adapter.id, owner: 'you' };
    add({ ...named, id: adapter.name, version: adapter.active, created: seconds(adapter.createdAt) });
    for (const { id, number, createdAt } of adapter.versions) {
      add({ ...named, id: `${adapter.name}@${number}`, version: id, created: seconds(createdAt) });
    }
  }
  return [...speakers.values()];
}

/** What a key may talk to: everything, or one adapter. */
export async function speakersFor(services: Services, key: ApiKey | undefined): Promise<NamedSpeaker[]> {
  const all = await listSpeakers(services);
  return key?.adapter === undefined ? all : all.filter(({ adapter }) => adapter === key.adapter);
}

/** The one of a name; without a name the newest adapter in use, or a base model. @throws LoamError: not-found */
export async function findSpeaker(
  services: Services,
  asked: string | null | undefined,
  key: ApiKey | undefined,
): Promise<NamedSpeaker> {
  const all = await speakersFor(services, key);
  const name = asked ?? 'default';
  const found = all.find(({ id }) => id === name);
  if (found) return found;
  const [first, ...others] = all.filter(({ id }) => !id.includes('@'));
  if (first && (name === 'default' || name === '')) {
    return others.reduce(
      (newest, one) => (one.version !== null && one.created >= newest.created ? one : newest),
      first,
    );
  }
  throw new LoamError({
    code: 'not-found',
    found: `the model ${JSON.stringify(name.slice(0, 100))} does not exist`,
    fix: '/v1/models lists those that do',
  });
}
