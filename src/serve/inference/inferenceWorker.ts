import { StoppedError } from '../../base/errors.js';
import { lowerPriority, packError } from '../../base/process.js';
import { memoryFile } from '../../engine/memory.js';
import { previewExamples } from '../../examples/preview.js';
import { ChatSession } from '../../llama/ChatSession.js';
import type { FromInference, InferenceRequest, ToInference } from './InferenceProcess.js';

/** Entry of the inference process: native code that aborts ends this process and not the one that serves. */

/** The one who serves goes first, and training last. */
const NICE = 5;
/** Adapters kept at once: comparing a few versions loads none twice. */
const MAX_ADAPTERS = 4;

lowerPriority(NICE);
// With its parent nobody is left to answer.
process.on('disconnect', () => process.exit(0));

const send = (message: FromInference) => {
  if (process.connected) process.send!(message);
};

let session: ChatSession | undefined;
let loaded: { model: string; contextLength?: number } | undefined;
/** Names of adapters, the one used last at the end. */
let held: string[] = [];
const stops = new Map<number, AbortController>();
const waiting = new Map<number, (bytes: Uint8Array | undefined) => void>();

process.on('message', (message: ToInference) => {
  if (message.type === 'answer') void work(message.id, (signal) => answer(message.id, message.request, signal));
  if (message.type === 'preview') void work(message.id, (signal) => previewExamples(message.request, signal));
  if (message.type === 'stop') stops.get(message.id)?.abort();
  if (message.type === 'adapter') waiting.get(message.id)?.(message.bytes);
  if (message.type === 'no-adapter') waiting.get(message.id)?.(undefined);
});

async function work(id: number, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const controller = new AbortController();
  stops.set(id, controller);
  try {
    send({ type: 'done', id, result: await run(controller.signal) });
  } catch (error) {
    send({ type: 'failed', id, error: packError(error) });
  } finally {
    stops.delete(id);
  }
}

async function answer(id: number, request: InferenceRequest, signal: AbortSignal): Promise<void> {
  const chat = await open(request);
  await wear(id, chat, request.adapter);
  const { prompt, sampling, stop, forget } = request;
  const options = { stop, forget };
  const events =
    typeof prompt === 'string'
      ? chat.complete(prompt, sampling, signal, options)
      : chat.answer(prompt, sampling, signal, options);
  for await (const event of events) send({ type: 'event', id, event });
}

/** The session of a model; one model is held at a time. */
async function open({ model, contextLength }: InferenceRequest): Promise<ChatSession> {
  if (session && loaded!.model === model && loaded!.contextLength === contextLength) return session;
  session?.[Symbol.dispose]();
  session = undefined;
  held = [];
  session = await ChatSession.open({ modelPath: model, contextLength });
  loaded = { model, contextLength };
  return session;
}

async function wear(id: number, chat: ChatSession, adapter: string | undefined): Promise<void> {
  if (adapter !== undefined) {
    if (!held.includes(adapter)) {
      const bytes = await new Promise<Uint8Array | undefined>((resolve) => {
        waiting.set(id, resolve);
        send({ type: 'need-adapter', id });
      });
      waiting.delete(id);
      if (!bytes) throw new StoppedError();
      await using file = await memoryFile(bytes);
      await chat.addAdapter(adapter, file.path);
    }
    held = [...held.filter((name) => name !== adapter), adapter];
    for (const old of held.splice(0, held.length - MAX_ADAPTERS)) chat.dropAdapter(old);
  }
  chat.wear(adapter);
}
