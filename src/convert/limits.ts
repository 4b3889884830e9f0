/** Limits of what a folder of Hugging Face may hold, each with its reason. */

/** config.json, generation_config.json, tokenizer_config.json: the largest published one (Gemma 3) has 1.2 MB. */
export const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** tokenizer.json of Gemma 3, with 262,144 tokens and 514,906 merges, has 33 MB. */
export const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024;

/** tokenizer.model of Gemma 3 has 4.7 MB. */
export const MAX_SENTENCEPIECE_BYTES = 64 * 1024 * 1024;

/** Model cards and chat templates are written by people. */
export const MAX_TEXT_BYTES = 4 * 1024 * 1024;

/** Templates in additional_chat_templates/. */
export const MAX_CHAT_TEMPLATES = 64;

/** Far above every published model; the same bounds as those of `src/model/hyperparameters.ts`. */
export const MAX_LAYERS = 1024;
export const MAX_WIDTH = 1 << 17;
export const MAX_HEADS = 4096;
export const MAX_VOCABULARY = 1 << 21;
export const MAX_CONTEXT = 1 << 27;
