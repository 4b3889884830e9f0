import type { ChatEvent } from '../chat/ChatSession.js';
import type { InferenceRequest } from '../chat/inferenceProtocol.js';
import { type Sampling, samplingOptions } from '../chat/sampling.js';
import { LoamError } from '../util/errors.js';
import { defaults } from '../util/options.js';
import type { Adapter, AdapterVersion } from '../vault/types.js';
import type { Services } from './Services.js';

/** Tokens of conversation and answer together: as `loam chat`. */
const CONTEXT = 4096;

export interface Speaker {
  /** Name of the base model. */
  model: string;
  /** Id of an adapter version; null is the bare base. */
  version: string | null;
}

/** Sampling options by their defaults where none is given. */
export function samplingOf(given: Partial<Sampling> | undefined): Sampling {
  return { ...defaults(samplingOptions), ...given };
}

/** Streams an answer of a model, as it is or wearing a version of an adapter. @throws HttpError 404, LoamError */
export async function* answerWith(
  services: Services,
  speaker: Speaker,
  request: Pick<InferenceRequest, 'prompt' | 'sampling' | 'stop' | 'forget'>,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent, void, void> {
  const model = await services.model(speaker.model);
  const { version } = speaker;
  if (version !== null) requireBase(version, model, services);
  yield* services.inference.answer(
    { ...request, model: model.path, contextLength: CONTEXT, adapter: version ?? undefined },
    { adapter: version === null ? undefined : () => services.vault.adapters.read(version), signal },
  );
}

function requireBase(version: string, model: { name: string; sha256: string | null }, services: Services): void {
  const { lineage } = services.vault.adapters.version(version);
  if (model.sha256 === null || lineage.base.sha256 === model.sha256) return;
  throw new LoamError({
    found: `this adapter belongs to another base model (${lineage.base.name}) than ${model.name}`,
    fix: 'choose that model',
  });
}

/** A base model's name by its hash: what an adapter version is worn by. Undefined where it is not on this device. */
export async function modelOf(
  services: Services,
  version: AdapterVersion | Adapter,
): Promise<{ name: string; path: string } | undefined> {
  const sha256 = 'lineage' in version ? version.lineage.base.sha256 : version.model.sha256;
  const { models } = await services.models();
  return models.find((model) => model.installed && model.sha256 === sha256);
}
