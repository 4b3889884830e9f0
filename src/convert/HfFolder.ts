import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LoamError } from '../util/errors.js';
import { bytes as asBytes } from '../util/format.js';
import { openRegularFile } from '../util/openRegularFile.js';
import { type JsonObject, parseJson } from '../util/parseJson.js';
import { readFully } from '../util/readFully.js';
import { isObject } from './json.js';
import {
  MAX_CHAT_TEMPLATES,
  MAX_CONFIG_BYTES,
  MAX_SENTENCEPIECE_BYTES,
  MAX_TEXT_BYTES,
  MAX_TOKENIZER_BYTES,
} from './limits.js';

/** What a Hugging Face folder holds beside its weights. */
export interface HfFolder {
  readonly path: string;
  /** The folder's own name, the last resort for the name of the model. */
  readonly name: string;
  readonly config: JsonObject;
  readonly generationConfig?: JsonObject;
  readonly tokenizer?: JsonObject;
  readonly tokenizerConfig?: JsonObject;
  /** added_tokens.json: text to id. */
  readonly addedTokens?: JsonObject;
  /** tokenizer.model, a SentencePiece model. */
  readonly sentencePiece?: Uint8Array;
  readonly mergesText?: string;
  /** chat_template.jinja. */
  readonly chatTemplate?: string;
  /** additional_chat_templates/NAME.jinja, by name. */
  readonly moreChatTemplates: ReadonlyMap<string, string>;
  /** chat_template.json. */
  readonly chatTemplateJson?: JsonObject;
  /** README.md. */
  readonly modelCard?: string;
}

async function readBytes(path: string, most: number): Promise<Buffer | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return undefined;
  const { file, size } = await openRegularFile(path);
  try {
    if (size > most) {
      throw new LoamError({ found: `a file of ${asBytes(size)}`, expected: `at most ${asBytes(most)}`, where: path });
    }
    const target = Buffer.alloc(size);
    return target.subarray(0, await readFully(file, target, 0));
  } finally {
    await file.close();
  }
}

async function readText(path: string, most: number): Promise<string | undefined> {
  const bytes = await readBytes(path, most);
  if (!bytes) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new LoamError({ found: 'bytes that are not UTF-8', expected: 'text', where: path }, { cause });
  }
}

async function readObject(path: string, most: number): Promise<JsonObject | undefined> {
  const text = await readText(path, most);
  if (text === undefined) return undefined;
  // tokenizer_config.json has 10^30 for "no limit".
  const value = parseJson(text, path, { bigIntegers: 'round' });
  if (isObject(value)) return value;
  throw new LoamError({ found: 'no object', expected: 'a JSON object', where: path });
}

/** A wrong generation_config.json is no reason to fail: only suggestions for sampling are in it. */
async function readSuggestions(path: string): Promise<JsonObject | undefined> {
  return await readObject(path, MAX_CONFIG_BYTES).catch(() => undefined);
}

async function readTemplates(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder).catch(() => []);
  const templates = names.filter((name) => name.endsWith('.jinja')).sort();
  const found = new Map<string, string>();
  for (const name of templates.slice(0, MAX_CHAT_TEMPLATES)) {
    const text = await readText(join(folder, name), MAX_TEXT_BYTES);
    if (text !== undefined) found.set(name.slice(0, -'.jinja'.length), text);
  }
  return found;
}

/**
 * Reads the small files of a model folder as Hugging Face's libraries save it. Links to other places are followed, as the hub's own
 * cache consists of them.
 * @throws LoamError where config.json is missing or a file is not what its name says
 */
export async function readHfFolder(path: string): Promise<HfFolder> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new LoamError({
      found: found ? 'this is no folder' : 'there is nothing here',
      expected: 'the folder of a model, with config.json',
      where: path,
    });
  }
  const inside = (name: string) => join(path, name);
  const config = await readObject(inside('config.json'), MAX_CONFIG_BYTES);
  if (!config) {
    throw new LoamError({
      found: 'no config.json',
      expected: 'the folder of a model as Hugging Face libraries save it',
      where: path,
      fix: 'download the whole repository, or save the model with save_pretrained()',
    });
  }
  return {
    path,
    name: basename(resolve(path)),
    config,
    generationConfig: await readSuggestions(inside('generation_config.json')),
    tokenizer: await readObject(inside('tokenizer.json'), MAX_TOKENIZER_BYTES),
    tokenizerConfig: await readObject(inside('tokenizer_config.json'), MAX_CONFIG_BYTES),
    addedTokens: await readObject(inside('added_tokens.json'), MAX_CONFIG_BYTES),
    sentencePiece: await readBytes(inside('tokenizer.model'), MAX_SENTENCEPIECE_BYTES),
    mergesText: await readText(inside('merges.txt'), MAX_TOKENIZER_BYTES),
    chatTemplate: await readText(inside('chat_template.jinja'), MAX_TEXT_BYTES),
    moreChatTemplates: await readTemplates(inside('additional_chat_templates')),
    chatTemplateJson: await readObject(inside('chat_template.json'), MAX_TEXT_BYTES),
    modelCard: await readText(inside('README.md'), MAX_TEXT_BYTES),
  };
}
