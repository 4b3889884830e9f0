import { parentPort, workerData } from 'node:worker_threads';
import { Template } from '@huggingface/jinja';
import type { RenderRequest, RenderResponse, TemplateSetup } from './chatTemplate.js';

/** Worker thread that renders chat templates: a template comes from a model file, so it may loop for ever or blow up memory. */

const { source, tokens, maxCharacters } = workerData as TemplateSetup;
const port = parentPort!;

try {
  const template = new Template(source);
  port.postMessage({ ready: true } satisfies RenderResponse);
  port.on('message', ({ id, messages, addGenerationPrompt }: RenderRequest) => {
    port.postMessage(render(template, id, messages, addGenerationPrompt));
  });
} catch (error) {
  port.postMessage({ failed: (error as Error).message } satisfies RenderResponse);
}

function render(
  template: Template,
  id: number,
  messages: RenderRequest['messages'],
  addGenerationPrompt: boolean,
): RenderResponse {
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
