import type { Static } from 'typebox';
import { OpenAiModel, OpenAiModelList } from '../contract/openai.js';
import { routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSpeaker, type NamedSpeaker, speakersFor } from '../speakers.js';
import { chatCompletionsRoute } from './openaiChat.js';
import { completionsRoute } from './openaiText.js';

const route = routesOf<Services>();

/** OpenAI's API: who can be asked, and the two ways to ask. */
export const openAiRoutes = [
  route({
    method: 'GET',
    path: '/v1/models',
    keys: 'chat',
    summary:
      'Base models on this device and every version of every adapter (NAME: the one in use, NAME@N: one of them).',
    response: OpenAiModelList,
    errors: 'openai',
    async handler({ key }, services) {
      return { object: 'list' as const, data: (await speakersFor(services, key)).map(viewModel) };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/models/{model}',
    keys: 'chat',
    summary: 'One of them.',
    response: OpenAiModel,
    errors: 'openai',
    async handler({ params, key }, services) {
      return viewModel(await findSpeaker(services, { model: params.model }, key));
    },
  }),
  chatCompletionsRoute,
  completionsRoute,
];

function viewModel({ id, created, owner }: NamedSpeaker): Static<typeof OpenAiModel> {
  return { id, object: 'model', created, owned_by: owner };
}
