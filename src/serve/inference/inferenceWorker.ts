import { underName } from '../../base/errors.js';
import { hashFile } from '../../base/io.js';
import { memoryFile } from '../../engine/memory.js';
import { previewExamples } from '../../examples/preview.js';
import { ChatSession } from '../../llama/ChatSession.js';
import { readTokens } from '../../llama/reading.js';
import type { Wish } from '../../llama/Wardrobe.js';
import { proveModel } from '../../model/proof.js';
import { stampOf } from '../../models/register.js';
import { importedLineage } from '../../store/adapterFiles.js';
import { serveTasks } from '../worker.js';
import type { InferenceRequest, InferenceTasks } from './InferenceProcess.js';

/** Entry of the inference process. It holds the model that answered last, and some adapters. */

/** The one who serves goes first, and training last. */
const NICE = 5;
/** Adapters held: comparing a few versions loads none twice. */
const MAX_ADAPTERS = 4;

let session: ChatSession | undefined;
let loaded: (InferenceRequest['model'] & { stamp: string }) | undefined;
/** Names of adapters, the one used last at the end. */
let held: string[] = [];

serveTasks<InferenceTasks>(
  {
    async answer(request, { signal, emit, ask }) {
      const chat = await open(request.model);
      await wear(chat, request.adapters ?? [], ask);
      const { prompt, sampling, options } = request;
      const answer =
        typeof prompt === 'string' || !('length' in prompt)
          ? chat.complete(prompt, sampling, signal, options)
          : chat.answer(prompt, sampling, signal, options);
      return await answer.each(emit);
    },
    async embed({ model, adapters = [], inputs }, { signal, emit, ask }) {
      const chat = await open(model);
      await wear(chat, adapters, ask);
      return await chat.embed(inputs, { signal, onEach: () => emit('embedded') });
    },
    async suited({ model, adapters = [], question }, { signal, ask }) {
      const chat = await open(model);
      await hang(chat, adapters, ask);
      return (await chat.suited(question, adapters, signal)).map(({ name }) => name);
    },
    async count({ model, adapters = [], prompt, options }, { ask }) {
      const chat = await open(model);
      // Adapters say how the template is asked.
      await wear(chat, adapters, ask);
      return await chat.count(prompt, options);
    },
    tokens: async ({ model, request }) => readTokens((await open(model)).tokenizer.vocabulary, request),
    async imported({ model, bytes, name }, { signal }) {
      await proveModel(model.path, { signal });
      await using file = await memoryFile(bytes);
      return await importedLineage(file.path, model, (path) => hashFile(path, signal).result).catch((error) => {
        throw underName(error, file.path, name);
      });
    },
    preview: (request, { signal }) => previewExamples(request, signal),
  },
  { nice: NICE, farewellMs: 0 },
);

/** The session of a model; one model is held at a time. */
async function open(model: InferenceRequest['model']): Promise<ChatSession> {
  const { path, contextLength } = model;
  // A file that was changed meanwhile is another model, and what is mapped of it may be gone.
  const stamp = await stampOf(path);
  if (session && loaded!.path === path && loaded!.contextLength === contextLength && loaded!.stamp === stamp) {
    return session;
  }
  session?.[Symbol.dispose]();
  session = undefined;
  held = [];
  session = await ChatSession.open({ modelPath: path, contextLength });
  loaded = { ...model, stamp };
  return session;
}

type Fetch = (name: string) => Promise<Uint8Array>;

async function wear(chat: ChatSession, adapters: readonly Wish[], fetch: Fetch): Promise<void> {
  await hang(chat, adapters, fetch);
  chat.wear(adapters);
}

/** Loads adapters that are not held. */
async function hang(chat: ChatSession, adapters: readonly Wish[], fetch: Fetch): Promise<void> {
  for (const { name } of adapters) {
    if (!held.includes(name)) {
      await using file = await memoryFile(await fetch(name));
      await chat.addAdapter(name, file.path);
    }
    held = [...held.filter((one) => one !== name), name];
  }
  const most = Math.max(MAX_ADAPTERS, adapters.length);
  for (const old of held.splice(0, held.length - most)) chat.dropAdapter(old);
}
