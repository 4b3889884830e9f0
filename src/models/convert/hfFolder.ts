import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LoamError } from '../../base/errors.js';
import { ifPresent, readBounded, readText } from '../../base/io.js';
import type { JsonObject } from '../../base/json.js';
import { readJsonObject } from '../../base/jsonAccess.js';

/** Limits of what a folder of Hugging Face may hold, each with its reason. */

/** config.json, generation_config.json, tokenizer_config.json: the largest published one (Gemma 3) has 1.2 MB. */
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** tokenizer.json of Gemma 3, with 262,144 tokens and 514,906 merges, has 33 MB. */
const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024;

/** tokenizer.model of Gemma 3 has 4.7 MB. */
const MAX_SENTENCEPIECE_BYTES = 64 * 1024 * 1024;

/** Model cards and chat templates are written by people. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

/** Templates in additional_chat_templates/. */
const MAX_CHAT_TEMPLATES = 64;

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

async function readObject(path: string, most: number): Promise<JsonObject | undefined> {
  // tokenizer_config.json has 10^30 for "no limit".
  return await ifPresent(readJsonObject(path, most, { bigIntegers: 'round' }));
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
    found.set(name.slice(0, -'.jinja'.length), await readText(join(folder, name), MAX_TEXT_BYTES));
  }
  return found;
}

/** What a folder without a config.json is. In the hub's cache that of a model holds its snapshots, each of which is one. */
export async function noConfig(path: string): Promise<LoamError> {
  const snapshots = await readdir(join(path, 'snapshots')).catch(() => []);
  return new LoamError({
    code: 'not-found',
    found: `no config.json${snapshots.length > 0 ? ', but snapshots, as the cache of the hub keeps them' : ''}`,
    expected: 'the folder of a model as Hugging Face libraries save it',
    where: path,
    fix:
      snapshots.length > 0
        ? `pass ${join(path, 'snapshots', snapshots.length === 1 ? snapshots[0]! : 'NAME')}`
        : 'download the whole repository, or save the model with save_pretrained()',
  });
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
      code: found ? 'wrong-format' : 'not-found',
      found: found ? 'this is no folder' : 'there is nothing here',
      expected: 'the folder of a model, with config.json',
      where: path,
    });
  }
  const inside = (name: string) => join(path, name);
  const text = (name: string, most: number) => ifPresent(readText(inside(name), most));
  const config = await readObject(inside('config.json'), MAX_CONFIG_BYTES);
  if (!config) throw await noConfig(path);
  return {
    path,
    name: basename(resolve(path)),
    config,
    generationConfig: await readSuggestions(inside('generation_config.json')),
    tokenizer: await readObject(inside('tokenizer.json'), MAX_TOKENIZER_BYTES),
    tokenizerConfig: await readObject(inside('tokenizer_config.json'), MAX_CONFIG_BYTES),
    addedTokens: await readObject(inside('added_tokens.json'), MAX_CONFIG_BYTES),
    sentencePiece: await ifPresent(readBounded(inside('tokenizer.model'), MAX_SENTENCEPIECE_BYTES)),
    mergesText: await text('merges.txt', MAX_TOKENIZER_BYTES),
    chatTemplate: await text('chat_template.jinja', MAX_TEXT_BYTES),
    moreChatTemplates: await readTemplates(inside('additional_chat_templates')),
    chatTemplateJson: await readObject(inside('chat_template.json'), MAX_TEXT_BYTES),
    modelCard: await text('README.md', MAX_TEXT_BYTES),
  };
}
