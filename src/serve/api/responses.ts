import { randomBytes } from 'node:crypto';
import { answering, type EndReason, gather, type Piece, type TokenCount } from '../answering.js';
import { type OutputItem, Response, ResponseEvent, ResponseInput } from '../contract/responses.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { BODY_LIMIT } from './openaiOutput.js';
import { requestOf } from './otherInput.js';
import { translate } from './responsesInput.js';

const route = routesOf<Services>();

/** OpenAI's API of responses. Nothing is kept: a conversation comes whole with every request. */
export const responseRoutes = [
  route({
    method: 'POST',
    path: '/v1/responses',
    keys: 'chat',
    summary: "An answer in the form of OpenAI's API of responses, whole or streamed; nothing is kept.",
    body: ResponseInput,
    bodyLimit: BODY_LIMIT,
    response: { json: Response, events: ResponseEvent },
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      const request = requestOf(translate(body));
      request.options = { ...request.options, forget: body.truncation === 'auto', limit: 'max_output_tokens' };
      const speaker = await findSuited(services, body, key, request, signal);
      const response = begin(body, speaker.id);
      const pieces = answering(services, speaker, request, signal);
      if (body.stream) return Answer.events(await begun(streamed(pieces, response)));
      const { answers, usage } = await gather(pieces);
      const { thought, text, calls, reason } = answers[0]!;
      const output = [
        ...(thought === '' ? [] : [thoughtItem(thought)]),
        ...(text === '' && calls.length > 0 ? [] : [messageItem(text)]),
        ...calls.map(({ call: { id, name }, text: given }) => callItem(id, name, given)),
      ];
      return ended(response, output, { reason, usage });
    },
  }),
];

function newId(kind: string): string {
  return `${kind}_${randomBytes(16).toString('hex')}`;
}

/** What a response says before there is anything in it. */
function begin(body: ResponseInput, model: string): Response {
  return {
    id: newId('resp'),
    object: 'response',
    created_at: Math.floor(Date.now() / 1000),
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    usage: null,
    user: null,
  };
}

interface End {
  reason: EndReason;
  usage: TokenCount;
}

function ended(response: Response, output: OutputItem[], { reason, usage }: End): Response {
  const isShort = reason === 'length';
  return {
    ...response,
    status: isShort ? 'incomplete' : 'completed',
    incomplete_details: isShort ? { reason: 'max_output_tokens' } : null,
    output,
    usage: {
      input_tokens: usage.prompt,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: usage.answer,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.prompt + usage.answer,
    },
  };
}

const outputText = (text: string) => ({ type: 'output_text' as const, text, annotations: [], logprobs: [] });
const reasoningText = (text: string) => ({ type: 'reasoning_text' as const, text });

function messageItem(text: string, id = newId('msg')) {
  return {
    id,
    type: 'message',
    status: 'completed',
    role: 'assistant',
    content: [outputText(text)],
  } satisfies OutputItem;
}

function thoughtItem(text: string, id = newId('rs')) {
  return {
    id,
    type: 'reasoning',
    status: 'completed',
    summary: [],
    content: [reasoningText(text)],
  } satisfies OutputItem;
}

function callItem(callId: string, name: string, given: string, id = newId('fc')) {
  return {
    id,
    type: 'function_call',
    status: 'completed',
    call_id: callId,
    name,
    arguments: given,
  } satisfies OutputItem;
}

// biome-ignore lint/suspicious/noExplicitAny: distributes over the events
type Unnumbered<E> = E extends any ? Omit<E, 'sequence_number'> : never;

/** Items one after the other, each begun, continued and ended; every event has the next number. */
async function* streamed(pieces: AsyncIterable<Piece>, response: Response): AsyncGenerator<ServerEvent<ResponseEvent>> {
  let number = 0;
  const say = (event: Unnumbered<ResponseEvent>): ServerEvent<ResponseEvent> => ({
    data: { ...event, sequence_number: number++ } as ResponseEvent,
  });
  const output: OutputItem[] = [];
  /** What is being said. */
  let open:
    | { kind: 'text' | 'thought' | 'call'; id: string; said: string; call: { id: string; name: string } }
    | undefined;
  const item = () => ({ item_id: open!.id, output_index: output.length });
  const place = () => ({ ...item(), content_index: 0 });
  const partOf = (text: string) => (open!.kind === 'text' ? outputText(text) : reasoningText(text));
  const itemOf = (text: string): OutputItem => {
    const { kind, id, call } = open!;
    if (kind === 'call') return callItem(call.id, call.name, text, id);
    return (kind === 'text' ? messageItem : thoughtItem)(text, id);
  };
  const ids = { text: 'msg', thought: 'rs', call: 'fc' };
  function* start(kind: 'text' | 'thought' | 'call', call = { id: '', name: '' }) {
    if (open?.kind === kind && kind !== 'call') return;
    yield* finish();
    open = { kind, id: newId(ids[kind]), said: '', call };
    const begun = { ...itemOf(''), status: 'in_progress', ...(kind !== 'call' && { content: [] }) } as OutputItem;
    yield say({ type: 'response.output_item.added', output_index: output.length, item: begun });
    if (kind !== 'call') yield say({ type: 'response.content_part.added', ...place(), part: partOf('') });
  }
  function* finish() {
    if (!open) return;
    const { kind, said: text, call } = open;
    if (kind === 'text') yield say({ type: 'response.output_text.done', ...place(), text, logprobs: [] });
    else if (kind === 'thought') yield say({ type: 'response.reasoning_text.done', ...place(), text });
    else {
      const { name } = call;
      yield say({ type: 'response.function_call_arguments.done', ...item(), name, arguments: text });
    }
    if (kind !== 'call') yield say({ type: 'response.content_part.done', ...place(), part: partOf(text) });
    const done = itemOf(text);
    yield say({ type: 'response.output_item.done', output_index: output.length, item: done });
    output.push(done);
    open = undefined;
  }
  let isFirst = true;
  for await (const piece of pieces) {
    if (isFirst) {
      yield say({ type: 'response.created', response });
      yield say({ type: 'response.in_progress', response });
    }
    isFirst = false;
    if (piece.type === 'text' || piece.type === 'thought') {
      yield* start(piece.type);
      open!.said += piece.text;
      if (piece.type === 'thought') yield say({ type: 'response.reasoning_text.delta', ...place(), delta: piece.text });
      else yield say({ type: 'response.output_text.delta', ...place(), delta: piece.text, logprobs: [] });
    } else if (piece.type === 'callBegin') {
      yield* start('call', piece);
    } else if (piece.type === 'callText') {
      open!.said += piece.text;
      yield say({ type: 'response.function_call_arguments.delta', ...item(), delta: piece.text });
    } else if (piece.type === 'end') {
      if (output.length === 0 && !open) yield* start('text');
      yield* finish();
      const whole = ended(response, output, piece);
      const type = whole.status === 'incomplete' ? 'response.incomplete' : 'response.completed';
      yield say({ type, response: whole });
    }
  }
}
