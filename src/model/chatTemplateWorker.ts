import { parentPort, workerData } from 'node:worker_threads';
import { Environment, Template } from '@huggingface/jinja';
import type { RenderRequest, RenderResponse, TemplateSetup } from './chatTemplate.js';
import { strftime } from './strftime.js';

/** Worker thread that renders chat templates: a template comes from a model file, so it may loop for ever or blow up memory. */

const { source, tokens, maxCharacters } = workerData as TemplateSetup;
const port = parentPort!;

// The interpreter's own clock is the present moment in the language of the system, and knows seven fields.
let day: string | undefined;
const { set } = Environment.prototype;
Environment.prototype.set = function (name: string, value: unknown) {
  return set.call(this, name, name === 'strftime_now' ? (format: string) => strftime(format, day) : value);
};

// The interpreter sorts keys by the language of the system; as Python does it, the text is the same everywhere.
String.prototype.localeCompare = function (that: string) {
  return this < that ? -1 : this > that ? 1 : 0;
};

try {
  const template = new Template(source);
  port.postMessage({ ready: true } satisfies RenderResponse);
  port.on('message', (request: RenderRequest) => {
    ({ day } = request);
    port.postMessage(render(template, request));
  });
} catch (error) {
  port.postMessage({ failed: (error as Error).message } satisfies RenderResponse);
}

function render(template: Template, { id, messages, addGenerationPrompt }: RenderRequest): RenderResponse {
  try {
    const text = template.render({
      messages,
      add_generation_prompt: addGenerationPrompt,
      bos_token: tokens.bos,
      eos_token: tokens.eos,
      tools: null,
    });
    if (text.length > maxCharacters) return { id, error: `its output has ${text.length} characters` };
    return { id, text };
  } catch (error) {
    return { id, error: (error as Error).message };
  }
}
