import { randomBytes } from 'node:crypto';
import { answering, countPrompt, type EndReason, gather, type Piece, type TokenCount } from '../answering.js';
import {
  type AnswerBlock,
  CountTokens,
  CountTokensInput,
  Message,
  MessageEvent,
  MessagesInput,
  type StopReason,
} from '../contract/anthropic.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { unserved } from './fields.js';
import { translate } from './messagesInput.js';
import { BODY_LIMIT } from './openaiOutput.js';
import { requestOf } from './otherInput.js';

const route = routesOf<Services>();

/** Anthropic's API of messages. */
export const messageRoutes = [
  route({
    method: 'POST',
    path: '/v1/messages',
    keys: 'chat',
    summary: "An answer to a conversation in the form of Anthropic's API, whole or streamed.",
    body: MessagesInput,
    bodyLimit: BODY_LIMIT,
    response: { json: Message, events: MessageEvent },
    errors: 'anthropic',
    async handler({ body, headers, key, signal }, services) {
      requireVersion(headers['anthropic-version']);
      const request = requestOf(translate(body));
      const speaker = await findSuited(services, body, key, request, signal);
      const head = {
        id: `msg_${randomBytes(12).toString('hex')}`,
        type: 'message',
        role: 'assistant',
        model: speaker.id,
        container: null,
        stop_details: null,
      } as const;
      if (body.stream) {
        const prompt = await countPrompt(services, speaker, request, signal);
        const pieces = answering(services, speaker, request, signal);
        return Answer.events(await begun(streamed(pieces, { ...head, ...going(prompt) })));
      }
      const { answers, usage } = await gather(answering(services, speaker, request, signal));
      const { thought, text, calls, ...end } = answers[0]!;
      const content: AnswerBlock[] = [
        ...(thought === '' ? [] : [thinking(thought)]),
        ...(text === '' && calls.length > 0 ? [] : [textBlock(text)]),
        ...calls.map(({ call: { id, name, arguments: input } }) => ({ type: 'tool_use' as const, id, name, input })),
      ];
      return { ...head, content, ...stopOf(end), usage: usageOf(usage) };
    },
  }),
  route({
    method: 'POST',
    path: '/v1/messages/count_tokens',
    keys: 'chat',
    summary: 'Tokens of the prompt that a conversation becomes.',
    body: CountTokensInput,
    bodyLimit: BODY_LIMIT,
    response: CountTokens,
    errors: 'anthropic',
    async handler({ body, headers, key, signal }, services) {
      requireVersion(headers['anthropic-version']);
      const request = requestOf(translate(body));
      const speaker = await findSuited(services, body, key, request, signal);
      return { input_tokens: await countPrompt(services, speaker, request, signal) };
    },
  }),
];

/** Both have the same form of all that is served here. */
const VERSIONS = ['2023-06-01', '2026-10-21'];

/** @throws UsageError for a version whose form may be another */
function requireVersion(version: string | string[] | undefined): void {
  if (version === undefined || VERSIONS.includes(String(version))) return;
  throw unserved('a version that is not served', 'anthropic-version', `send ${VERSIONS.join(' or ')}, or none`);
}

const thinking = (text: string) => ({ type: 'thinking' as const, thinking: text, signature: '' });
const textBlock = (text: string) => ({ type: 'text' as const, text, citations: null });

/** What a message has before it ends. */
function going(prompt: number) {
  return { content: [], stop_reason: null, stop_sequence: null, usage: usageOf({ prompt, answer: 0 }) };
}

function stopOf({ reason, stopText }: { reason: EndReason; stopText?: string }) {
  const stop: StopReason =
    reason === 'length'
      ? 'max_tokens'
      : reason === 'calls'
        ? 'tool_use'
        : stopText === undefined
          ? 'end_turn'
          : 'stop_sequence';
  return { stop_reason: stop, stop_sequence: stop === 'stop_sequence' ? stopText! : null };
}

function usageOf({ prompt, answer }: TokenCount) {
  const cache = { cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
  return { input_tokens: prompt, ...cache, output_tokens: answer };
}

/** Blocks one after the other, each begun, continued and ended. */
async function* streamed(pieces: AsyncIterable<Piece>, message: Message): AsyncGenerator<ServerEvent<MessageEvent>> {
  const say = (data: MessageEvent) => ({ data });
  let index = -1;
  let open: AnswerBlock['type'] | undefined;
  let isFirst = true;
  const end = () => (open === undefined ? [] : [say({ type: 'content_block_stop', index })]);
  const begin = (block: AnswerBlock) => {
    if (open === block.type && block.type !== 'tool_use') return [];
    const events = [...end(), say({ type: 'content_block_start', index: ++index, content_block: block })];
    open = block.type;
    return events;
  };
  for await (const piece of pieces) {
    if (isFirst) yield say({ type: 'message_start', message });
    isFirst = false;
    const delta = (of: Extract<MessageEvent, { type: 'content_block_delta' }>['delta']) =>
      say({ type: 'content_block_delta', index, delta: of });
    if (piece.type === 'thought') {
      yield* begin(thinking(''));
      yield delta({ type: 'thinking_delta', thinking: piece.text });
    } else if (piece.type === 'text') {
      yield* begin(textBlock(''));
      yield delta({ type: 'text_delta', text: piece.text });
    } else if (piece.type === 'callBegin') {
      yield* begin({ type: 'tool_use', id: piece.id, name: piece.name, input: {} });
    } else if (piece.type === 'callText') {
      yield delta({ type: 'input_json_delta', partial_json: piece.text });
    } else if (piece.type === 'end') {
      if (index < 0) yield* begin(textBlock(''));
      yield* end();
      yield say({ type: 'message_delta', delta: stopOf(piece), usage: usageOf(piece.usage) });
      yield say({ type: 'message_stop' });
    }
  }
}
