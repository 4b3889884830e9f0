import { deepSeek, deepSeek31 } from './deepSeek.js';
import type { ToolForm } from './form.js';
import { functionGemma } from './functionGemma.js';
import { glm45 } from './glm45.js';
import { granite } from './granite.js';
import { harmony } from './harmony.js';
import { hermes } from './hermes.js';
import { lfm2 } from './lfm2.js';
import { llama3 } from './llama3.js';
import { mistral } from './mistral.js';
import { phi4 } from './phi4.js';
import { plain } from './plain.js';
import { qwen3Coder } from './qwen3Coder.js';

export type { ParsedAnswer, ToolForm } from './form.js';

/** Every form, in the order in which they are tried; the last takes every template. */
export const toolForms: readonly ToolForm[] = [
  functionGemma,
  lfm2,
  mistral,
  llama3,
  deepSeek,
  deepSeek31,
  harmony,
  granite,
  phi4,
  glm45,
  qwen3Coder,
  hermes,
  plain,
];

/** The form that a template of this source looks like; whether it writes calls so is found by trying it (`ChatTemplate.toolUse`). */
export function toolFormOf(template: string): ToolForm {
  return toolForms.find((form) => form.detects(template))!;
}
