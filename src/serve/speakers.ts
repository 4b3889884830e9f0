import { LoamError, UsageError, underName } from '../base/errors.js';
import { Run } from '../base/events.js';
import { defaults } from '../base/options.js';
import { families } from '../families/index.js';
import type { ChatEvent } from '../llama/ChatSession.js';
import { type Sampling, samplingOptions } from '../llama/sampling.js';
import { MOST_STRENGTH } from '../llama/Wardrobe.js';
import type { ApiKey } from './contract/access.js';
import type { InferenceRequest } from './inference/InferenceProcess.js';
import type { Services } from './Services.js';

/** Who answers: base models and adapters by name, and what an answer takes. */

/** Tokens of conversation and answer together: as `loam chat`. */
const CONTEXT = 4096;

export interface Speaker {
  /** Name of the base model. */
  model: string;
  /** What it wears, all at once; none is the bare base. */
  adapters: readonly Worn[];
}

/** A version of an adapter, by what its correction is multiplied, and what the client calls it. */
export interface Worn {
  version: string;
  strength: number;
  name?: string;
}

/** A base model with one version, or as it is. */
export function speakerOf(model: string, version: string | null): Speaker {
  return { model, adapters: version === null ? [] : [{ version, strength: 1 }] };
}

/** A base model with one version and others beside it. @throws UsageError for one that is named twice */
export function wearing(
  services: Services,
  {
    model,
    version,
    strength = 1,
    also = [],
  }: { model: string; version: string | null; strength?: number; also?: readonly Worn[] },
): Speaker {
  const all = version === null ? also : [{ version, strength }, ...also];
  if (new Set(all.map((one) => one.version)).size < all.length) {
    throw new UsageError({ found: 'a version that is named twice', where: 'also' });
  }
  if (all.length < 2) return { model, adapters: all };
  const list = services.vault.adapters.list();
  const nameOf = (id: string) => list.find(({ versions }) => versions.some((one) => one.id === id))?.name;
  return { model, adapters: all.map((one) => ({ ...one, name: nameOf(one.version) })) };
}

/** Sampling options, with defaults for those that are not given. */
export function samplingOf(given: Partial<Sampling> | undefined): Sampling {
  return { ...defaults(samplingOptions), ...given };
}

/** An answer of a model, as it is or wearing adapters. @throws LoamError */
export function answerWith(
  services: Services,
  speaker: Speaker,
  request: Pick<InferenceRequest, 'prompt' | 'sampling' | 'options'>,
  signal: AbortSignal,
): Run<ChatEvent, string> {
  return new Run(
    (emit, inner) =>
      asSpeaker(services, speaker, async (who, readAdapter) => {
        try {
          return await services.inference.answer({ ...request, ...who }, readAdapter, inner).each(emit);
        } catch (error) {
          throw asGreeting(error, request.prompt);
        }
      }),
    signal,
  );
}

/** Who answers, as the process that does is told. */
type Who = Pick<InferenceRequest, 'model' | 'adapters'>;

/** Does something in the process that answers as a speaker; what fails there speaks of the model by its name. @throws LoamError */
export async function asSpeaker<T>(
  services: Services,
  speaker: Speaker,
  act: (who: Who, readAdapter: (version: string) => Promise<Uint8Array>) => Promise<T>,
): Promise<T> {
  const model = await services.model(speaker.model);
  for (const { version } of speaker.adapters) requireBase(version, model, services);
  const { path, name } = model;
  const adapters = speaker.adapters.map((one) => ({ name: one.version, strength: one.strength, title: one.name }));
  try {
    return await act({ model: { path, contextLength: CONTEXT }, adapters }, (id) => services.vault.adapters.read(id));
  } catch (error) {
    throw underName(error, path, name);
  }
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

export interface NamedSpeaker extends Speaker {
  /** What a client asks for. */
  id: string;
  /** Id of the adapter; absent for a base model, and for several. */
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
  for (const { name } of usable) add({ id: name, model: name, adapters: [], created: 0, owner: 'base' });
  if (services.vaultState !== 'open') return [...speakers.values()];
  for (const adapter of services.vault.adapters.list()) {
    const base = usable.find(({ sha256 }) => sha256 !== null && sha256 === adapter.model.sha256);
    if (!base) continue;
    const seconds = (iso: string) => Math.floor(Date.parse(iso) / 1000);
    const named = { model: base.name, adapter: adapter.id, owner: 'you' };
    const addVersion = (id: string, version: string | null, iso: string) =>
      add({
        ...named,
        id,
        adapters: version === null ? [] : [{ version, strength: 1, name: id }],
        created: seconds(iso),
      });
    addVersion(adapter.name, adapter.active, adapter.createdAt);
    for (const { id, number, createdAt } of adapter.versions) addVersion(`${adapter.name}@${number}`, id, createdAt);
  }
  return [...speakers.values()];
}

/** What a key may talk to: everything, or one adapter. */
export async function speakersFor(services: Services, key: ApiKey | undefined): Promise<NamedSpeaker[]> {
  const all = await listSpeakers(services);
  return key?.adapter === undefined ? all : all.filter(({ adapter }) => adapter === key.adapter);
}

/** How a request names who is to answer. */
export interface Asked {
  model?: string | null;
  /** Several adapters at once, for which `model` has no name of its own. */
  adapters?: readonly { name: string; strength?: number }[] | null;
  /** Whether adapters are left out that learnt to answer questions of another kind. */
  gate?: boolean | null;
}

/** Adapters at once. */
const MOST_ADAPTERS = 8;

/**
 * The one that a request names; without a name the newest adapter in use, or a base model. Several adapters are named in a row,
 * `NAME+NAME@2`, any of them with a strength, `NAME:0.5`, or by `adapters`.
 * @throws LoamError: not-found; mismatch; UsageError
 */
export async function findSpeaker(
  services: Services,
  { model, adapters }: Asked,
  key: ApiKey | undefined,
): Promise<NamedSpeaker> {
  const all = await speakersFor(services, key);
  const name = model ?? 'default';
  const isDefault = name === 'default' || name === '';
  if (adapters) {
    const found = together(all, adapters);
    if (isDefault || name === found.model) return found;
    throw new UsageError({
      found: `the model ${shown(name)} beside adapters of ${found.model}`,
      where: 'model',
      fix: 'name their base model, or leave it out',
    });
  }
  const found = all.find(({ id }) => id === name);
  if (found) return found;
  const [first, ...others] = all.filter(({ id }) => !id.includes('@'));
  if (first && isDefault) {
    return others.reduce(
      (newest, one) => (one.adapters.length > 0 && one.created >= newest.created ? one : newest),
      first,
    );
  }
  const parts = name.split('+').map((part) => {
    const [, bare, strength] = /^(.+):(-?\d+(?:\.\d+)?)$/.exec(part) ?? [];
    const isWhole = bare === undefined || all.some(({ id }) => id === part);
    return isWhole ? { name: part } : { name: bare, strength: Number(strength) };
  });
  const isKnown = parts.every((part) => all.some(({ id }) => id === part.name));
  if (!isKnown) throw (await whyAway(services, name, key)) ?? unknownModel(name);
  return together(all, parts);
}

/** The one that a request names; with a gate only those of its adapters that the last question is for, and by the name of what is left. */
export async function findSuited(
  services: Services,
  asked: Asked,
  key: ApiKey | undefined,
  { prompt }: Pick<InferenceRequest, 'prompt'>,
  signal: AbortSignal,
): Promise<NamedSpeaker> {
  const speaker = await findSpeaker(services, asked, key);
  if (!asked.gate || speaker.adapters.length === 0) return speaker;
  const question = questionOf(prompt);
  const suited = await asSpeaker(services, speaker, (who, readAdapter) =>
    services.inference.suited({ ...who, question }, readAdapter, signal),
  );
  const adapters = speaker.adapters.filter(({ version }) => suited.includes(version));
  if (adapters.length === speaker.adapters.length) return speaker;
  return { ...speaker, adapters, id: adapters.length === 0 ? speaker.model : rowOf(adapters) };
}

function questionOf(prompt: InferenceRequest['prompt']): string {
  if (typeof prompt === 'string') return prompt;
  if ('before' in prompt) return prompt.before;
  if (!('tokens' in prompt)) return prompt.findLast(({ role }) => role === 'user')?.content ?? '';
  throw new UsageError({ found: '"gate" of a prompt in tokens is not served', fix: 'send the prompt as a text' });
}

function rowOf(adapters: readonly Worn[]): string {
  return adapters.map(({ name, strength }) => (strength === 1 ? name : `${name}:${strength}`)).join('+');
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

/** Why a model or an adapter that is known by this name does not answer; undefined of any other. */
async function whyAway(services: Services, name: string, key: ApiKey | undefined): Promise<LoamError | undefined> {
  const { models } = await services.models();
  const model = models.find((one) => one.name === name && one.problem !== null);
  if (model && key?.adapter === undefined) {
    const fix = model.entry === null ? 'add it again with "loam models add"' : 'fetch it again';
    return new LoamError({ code: 'damaged', found: `the model ${shown(name)}: ${model.problem}`, fix });
  }
  const adapter = (services.vaultState === 'open' ? services.vault.adapters.list() : [])
    .filter(({ id }) => key?.adapter === undefined || key.adapter === id)
    .find((one) => one.name === name || one.versions.some(({ number }) => name === `${one.name}@${number}`));
  return (
    adapter &&
    new LoamError({
      code: 'not-found',
      found: `the base model of the adapter ${shown(adapter.name)} is not on this device, or its file has been changed`,
      fix: `add the file that the adapter was made with (${adapter.model.name})`,
    })
  );
}

function unknownModel(name: string): LoamError {
  return new LoamError({
    code: 'not-found',
    found: `the model ${shown(name)} does not exist`,
    fix: '/v1/models lists those that do',
  });
}

/** Several adapters as one speaker. */
function together(all: readonly NamedSpeaker[], parts: NonNullable<Asked['adapters']>): NamedSpeaker {
  const where = 'adapters';
  if (parts.length === 0 || parts.length > MOST_ADAPTERS) {
    throw new UsageError({ found: `${parts.length} adapters`, expected: `1 to ${MOST_ADAPTERS}`, where });
  }
  const found = parts.map(({ name, strength = 1 }) => {
    const speaker = all.find(({ id }) => id === name);
    if (!speaker) throw unknownModel(name);
    if (speaker.adapter === undefined) {
      const fix = 'name adapters only: their base model follows from them';
      throw new UsageError({ found: `${shown(name)} is a base model`, where, fix });
    }
    if (!(Math.abs(strength) <= MOST_STRENGTH)) {
      const expected = `one from -${MOST_STRENGTH} to ${MOST_STRENGTH}`;
      throw new UsageError({ found: `a strength of ${strength} for ${shown(name)}`, expected, where });
    }
    return { ...speaker, strength };
  });
  const [first] = found;
  const other = found.find(({ model }) => model !== first!.model);
  if (other) {
    throw new LoamError({
      code: 'mismatch',
      found: `the adapters ${shown(first!.id)} and ${shown(other.id)} belong to different base models`,
      fix: 'use adapters of one base model',
    });
  }
  const worn = found.flatMap(({ id, adapters, strength }) => adapters.map((one) => ({ ...one, name: id, strength })));
  const twice = worn.find(({ version }, i) => worn.findIndex((one) => one.version === version) !== i);
  if (twice) throw new UsageError({ found: `the adapter ${shown(twice.name)} is named twice`, where });
  return {
    id: rowOf(found.map(({ id, strength }) => ({ version: '', name: id, strength }))),
    model: first!.model,
    adapters: worn,
    adapter: found.length === 1 ? first!.adapter : undefined,
    created: Math.max(...found.map(({ created }) => created)),
    owner: 'you',
  };
}
