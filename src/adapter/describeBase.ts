import type { Gguf } from '../gguf/Gguf.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { baseFingerprint } from './fingerprint.js';
import type { AdapterToWrite } from './writeAdapter.js';

/** What an adapter file says about its base model. @param sha256 of the model's file, hex */
export async function describeBase(
  gguf: Gguf,
  tokenizer: Tokenizer,
  sha256: string,
): Promise<Pick<AdapterToWrite, 'base' | 'stopTokens'>> {
  return {
    base: {
      architecture: gguf.string('general.architecture'),
      name: gguf.string('general.name', ''),
      sha256,
      fingerprint: await baseFingerprint(gguf),
      templateSha256: tokenizer.template.hash,
    },
    stopTokens: stopTokens(tokenizer),
  };
}

/** Every token at which generation ends: what a program that uses the adapter should stop at. */
function stopTokens({ vocabulary }: Tokenizer): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < vocabulary.size; token++) if (vocabulary.endsGeneration(token)) tokens.push(token);
  return tokens;
}
