import type { JsonObject, JsonValue } from '../../../base/json.js';
import { at, isList, isObject, listAt, textAt } from '../../../base/jsonAccess.js';
import type { HfFolder } from '../hfFolder.js';
import { toMerges } from './bpe.js';

export interface NamedTemplate {
  readonly name: string;
  readonly template: string;
}

/** What a tokeniser's files say besides the vocabulary. */
export interface SpecialTokens {
  readonly merges: readonly string[];
  /** Ids by purpose ("bos"), in the order found. */
  readonly ids: ReadonlyMap<string, number>;
  /** Whether the token of a purpose is put to a text by itself. */
  readonly adds: ReadonlyMap<string, boolean>;
  readonly chatTemplate?: string | readonly NamedTemplate[];
  readonly lowercase?: boolean;
  readonly stripAccents?: boolean;
}

const purposes = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'];

/** Python's truth of a value. */
const truthy = (value: JsonValue | undefined): boolean =>
  isObject(value) ? value.size > 0 : isList(value) ? value.length > 0 : Boolean(value);

function readNormaliser(value: JsonValue | undefined, found: { lowercase?: boolean; stripAccents?: boolean }): void {
  const type = textAt(value, 'type');
  if (type === 'Lowercase') found.lowercase = true;
  else if (type === 'StripAccents') found.stripAccents = true;
  else if (type === 'Sequence') for (const step of listAt(value, 'normalizers')) readNormaliser(step, found);
}

/**
 * What the post-processor puts around a text, and what that says of the purposes of tokens. Changes `config` where it does not name
 * them. After vocab.py, SpecialVocab._try_load_from_tokenizer_json, for the single-text template.
 */
function readTemplates(
  tokenizer: JsonObject,
  config: Map<string, JsonValue> | undefined,
  adds: Map<string, boolean>,
  kinds: string[],
): void {
  let bos = config?.get('bos_token');
  let cls = config?.get('cls_token');
  let eos = config?.get('eos_token');
  const sep = config?.get('sep_token');
  if (!truthy(bos) && truthy(cls) && config) {
    bos = cls;
    config.set('bos_token', cls!);
  }
  if (!truthy(eos) && truthy(sep) && config) {
    eos = sep;
    config.set('eos_token', sep!);
  }
  const post = tokenizer.get('post_processor');
  if (!isObject(post)) return;
  for (const processor of post.has('processors') ? listAt(post, 'processors') : [post]) {
    if (textAt(processor, 'type') !== 'TemplateProcessing') continue;
    const single = listAt(processor, 'single');
    const pair = listAt(processor, 'pair');
    const first = single.length > 1 ? textAt(single[0], 'SpecialToken', 'id') : undefined;
    const last = single.length > 1 ? textAt(single.at(-1), 'SpecialToken', 'id') : undefined;
    if (first) {
      if (!config) bos = first;
      else if (first !== bos && first !== cls) {
        if (!truthy(bos)) {
          bos = first;
          config.set('bos_token', first);
        }
        if (!truthy(cls)) {
          cls = first;
          config.set('cls_token', first);
        }
      }
      adds.set('bos', first === bos || first === cls);
    }
    if (last) {
      if (!config) eos = last;
      else if (last !== eos) {
        const free = ['eot', 'eom'].find((kind) => !kinds.includes(kind));
        if (free !== undefined) {
          kinds.push(free);
          if (eos === undefined) config.delete(`${free}_token`);
          else config.set(`${free}_token`, eos);
        }
        eos = last;
        config.set('eos_token', last);
      }
      adds.set('eos', last === eos);
    }
    addSeparator(pair, first, last, { sep, eos }, config, adds);
  }
}

/** Whether two texts are parted by a token: A [sep] [eos] B. */
function addSeparator(
  pair: readonly JsonValue[],
  first: string | undefined,
  last: string | undefined,
  known: { sep: JsonValue | undefined; eos: JsonValue | undefined },
  config: Map<string, JsonValue> | undefined,
  adds: Map<string, boolean>,
): void {
  if (pair.length === 0) return;
  const special = (item: JsonValue | undefined) => textAt(item, 'SpecialToken', 'id');
  const from = first && special(pair[0]) === first ? 1 : 0;
  const to = last && special(pair.at(-1)) === last ? -1 : undefined;
  const middle = pair.slice(from, to);
  if (middle.length === 0) return;
  if (textAt(middle[0], 'Sequence', 'id') !== 'A' || textAt(middle.at(-1), 'Sequence', 'id') !== 'B') return;
  const between = middle.slice(1, -1);
  if (between.length === 0) return;
  const parts = (item: JsonValue | undefined) => {
    const id = special(item);
    return id !== undefined && (id === known.sep || id === known.eos);
  };
  let adding = parts(between[0]) && !last;
  if (between.length === 2 && parts(between[1])) adding = true;
  adds.set('sep', adding);
  if (adding && !truthy(known.sep) && config && known.eos !== undefined) config.set('sep_token', known.eos);
}

function readChatTemplate(folder: HfFolder, config: JsonObject): SpecialTokens['chatTemplate'] {
  const own = config.get('chat_template');
  let value: JsonValue | readonly NamedTemplate[] | undefined = own;
  if (!config.has('chat_template')) {
    if (folder.chatTemplate !== undefined) {
      if (folder.moreChatTemplates.size === 0) return folder.chatTemplate;
      const more = [...folder.moreChatTemplates].map(([name, template]) => ({ name, template }));
      return [{ name: 'default', template: folder.chatTemplate }, ...more];
    }
    value = at(folder.chatTemplateJson, 'chat_template');
  }
  if (typeof value === 'string') return value;
  if (!isList(value)) return undefined;
  return value.flatMap((item) => {
    const name = textAt(item, 'name');
    const template = textAt(item, 'template');
    return name !== undefined && template !== undefined ? [{ name, template }] : [];
  });
}

/**
 * Special tokens, chat template and merges out of tokenizer.json, tokenizer_config.json and config.json, as llama.cpp's converter
 * gathers them (gguf-py/gguf/vocab.py, SpecialVocab).
 * @param size of the vocabulary: ids beyond are left out; absent: no limit
 */
export function readSpecialTokens(folder: HfFolder, withMerges: boolean, size?: number): SpecialTokens {
  const ids = new Map<string, number>();
  const adds = new Map<string, boolean>();
  const kinds = [...purposes];
  const normaliser: { lowercase?: boolean; stripAccents?: boolean } = {};
  const config = folder.tokenizerConfig?.size ? new Map(folder.tokenizerConfig) : undefined;
  const take = (kind: string, id: JsonValue | undefined) => {
    const fits = typeof id === 'number' && Number.isInteger(id) && id >= 0 && (size === undefined || id < size);
    if (fits && !ids.has(kind)) ids.set(kind, id);
  };
  if (folder.tokenizer) {
    readNormaliser(folder.tokenizer.get('normalizer'), normaliser);
    readTemplates(folder.tokenizer, config, adds, kinds);
  }
  let chatTemplate: SpecialTokens['chatTemplate'];
  if (config) {
    chatTemplate = readChatTemplate(folder, config);
    const added = listAt(folder.tokenizer, 'added_tokens');
    for (const kind of kinds) {
      const flag = config.get(`add_${kind}_token`);
      if (typeof flag === 'boolean') adds.set(kind, flag);
      const text = textAt(config, `${kind}_token`) ?? textAt(config, `${kind}_token`, 'content');
      if (text !== undefined)
        take(
          kind,
          at(
            added.find((token) => textAt(token, 'content') === text),
            'id',
          ),
        );
    }
  }
  for (const kind of kinds) {
    const key = `${kind}_token_id`;
    take(kind, folder.config.get(key) ?? at(folder.config, 'text_config', key));
  }
  return { merges: withMerges ? toMerges(folder) : [], ids, adds, chatTemplate, ...normaliser };
}
