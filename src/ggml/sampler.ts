import type { LlamaContext } from './llamaContext.js';
import { native, type SamplerHandle } from './native.js';

/** How the next token is drawn. */
export interface SamplerSettings {
  /** 0 takes the likeliest token. */
  temperature: number;
  topP: number;
  /** 1 is off. */
  repeatPenalty: number;
  seed?: number;
}

const penaltyWindow = 64;
/** Tokens less likely than this share of the likeliest are never drawn (Nguyen et al. 2024, "min p"). */
const minP = 0.05;

/** A chain of libllama's samplers. */
export class Sampler implements Disposable {
  private readonly chain: SamplerHandle;

  constructor(settings: SamplerSettings, vocabulary: number) {
    const { llama } = native();
    const chain = llama.samplerChain({ no_perf: true });
    const add = (sampler: SamplerHandle) => llama.samplerAdd(chain, sampler);
    if (settings.repeatPenalty > 1) {
      add(llama.samplerPenalties(vocabulary, penaltyWindow, settings.repeatPenalty, 0, 0));
    }
    if (settings.temperature === 0) {
      add(llama.samplerGreedy());
    } else {
      add(llama.samplerTopP(settings.topP, 1));
      add(llama.samplerMinP(minP, 1));
      add(llama.samplerTemperature(settings.temperature));
      add(llama.samplerDist(settings.seed ?? Math.floor(Math.random() * 0x1_0000_0000)));
    }
    this.chain = chain;
  }

  /** Draws from the logits of the last token that the context decoded. */
  draw(context: LlamaContext): number {
    return native().llama.sample(this.chain, context.handle, -1);
  }

  [Symbol.dispose](): void {
    native().llama.samplerFree(this.chain);
  }
}
