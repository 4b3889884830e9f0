import { Script } from 'node:vm';
import './pythonJinja.js';
import { Environment, Template } from '@huggingface/jinja';
import { HELD_UP } from '../base/child.js';
import type { RenderRequest, RenderResponse, TemplateSetup } from './chatTemplate.js';
import { type Value, withNumbers } from './pythonValues.js';
import { strftime } from './strftime.js';

/**
 * Process that renders chat templates: a template comes from a model file, so it may loop for ever or take all memory, and whatever it
 * does ends here. Its parent ends it after a time; the limit below is for the case that the parent itself is gone.
 */

const tell = (response: RenderResponse) => process.send!(response, undefined, undefined, () => {});

let day: string | undefined;
let template: Template;
let setup: TemplateSetup;

// The interpreter's own clock is the present moment in the language of the system, and knows seven fields.
const { set } = Environment.prototype;
Environment.prototype.set = function (name: string, value: unknown) {
  const given = name === 'strftime_now' ? (format: string) => strftime(format, day) : value;
  return withNumbers(set.call(this, name, given) as unknown as Value) as never;
};

// The interpreter sorts keys by the language of the system; as Python does it, the text is the same everywhere.
String.prototype.localeCompare = function (that: string) {
  return this < that ? -1 : this > that ? 1 : 0;
};

const limited = globalThis as { work?: () => unknown };
const call = new Script('work()');

/** What `work` returns, if it does in time. */
function within<T>(ms: number, work: () => T): T {
  limited.work = work;
  return call.runInThisContext({ timeout: ms }) as T;
}

function render({ id, input, addGenerationPrompt, thinking, most }: RenderRequest): RenderResponse {
  try {
    const text = within(setup.timeoutMs * 2 * HELD_UP, () =>
      template.render({
        messages: input.messages,
        add_generation_prompt: addGenerationPrompt,
        ...(thinking !== undefined && { enable_thinking: thinking }),
        bos_token: setup.tokens.bos,
        eos_token: setup.tokens.eos,
        tools: input.tools,
        documents: null,
      }),
    );
    if (text.length > most) return { id, error: `its output has ${text.length} characters, expected at most ${most}` };
    return { id, text };
  } catch (error) {
    return { id, error: (error as Error).message };
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (request: TemplateSetup | RenderRequest) => {
  if ('id' in request) {
    ({ day } = request);
    return tell(render(request));
  }
  setup = request;
  tell({ state: 'parsing' });
  try {
    template = within(setup.timeoutMs * HELD_UP * 2, () => new Template(setup.source));
    tell({ state: 'ready' });
  } catch (error) {
    tell({ failed: (error as Error).message });
  }
});
