import { stretched } from './familyVariants.js';

/**
 * Hugging Face folders that Python makes with the helpers of `tinyFolders.ts`, tokenisers trained on the spot included: each section
 * makes those of `names`. `pre` is what llama.cpp's converter must be told of a vocabulary that nobody knows; of `pieces` it makes
 * useless scores, or refuses them.
 */
export const hfFolders: readonly { names: readonly string[]; pre?: string; pieces?: true; python: string }[] = [
  {
    names: ['TinyLlama-1.1B-Chat-v1.0'],
    python: String.raw`
# llama with SentencePiece: tokenizer.model, an added token, sharded, bf16, an untied head, a model card
path = folder('TinyLlama-1.1B-Chat-v1.0')
llama_pieces = piece_model(420, dict(dummy=True, unk=0, bos=1, eos=2, pad=-1), [])
open(os.path.join(path, 'tokenizer.model'), 'wb').write(llama_pieces)
size = sentencepiece.SentencePieceProcessor(model_proto=llama_pieces).vocab_size()
randomise(T.LlamaForCausalLM(T.LlamaConfig(**common, vocab_size=size + 3, rope_theta=10000.0))).bfloat16().save_pretrained(path, max_shard_size='100KB')
put(path, 'tokenizer_config.json', {'add_bos_token': True, 'add_eos_token': False, 'bos_token': added('<s>'), 'eos_token': {'content': '</s>'}, 'unk_token': '<unk>', 'pad_token': '</s>',
    'added_tokens_decoder': {'0': added('<unk>'), '1': added('<s>'), '2': added('</s>'), str(size): added('<|im_end|>', special=False), str(size + 1): added('\u2581hm\u2581', special=False)},
    'chat_template': chatml, 'model_max_length': 10**30, 'tokenizer_class': 'LlamaTokenizer'})
put(path, 'generation_config.json', {'temperature': 0.7, 'top_k': 50, 'top_p': 0.95, 'repetition_penalty': 1.1, 'max_length': 2048})
put(path, 'README.md', '---\nlicense: apache-2.0\ndatasets:\n- cerebras/SlimPajama-627B\n- bigcode/starcoderdata\nlanguage:\n- en\n- no\nbase_model: TinyLlama/TinyLlama-1.1B-v1.0\ntags: [text, "llama"]\npipeline_tag: text-generation\nwidget:\n  - example_title: Hello\n    text: |\n      a: b\n      - c\n---\n# Tiny\n')
`,
  },
  {
    names: ['llama-json'],
    pieces: true,
    python: `
# the same pieces as tokenizer.json only, as transformers 5 saves them
path = folder('llama-json')
t = json_of_pieces(llama_pieces, False, '<unk>', '<s>', [])
randomise(T.LlamaForCausalLM(T.LlamaConfig(**common, vocab_size=size, rope_theta=10000.0))).half().save_pretrained(path)
put(path, 'tokenizer.json', t)
put(path, 'tokenizer_config.json', {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'PreTrainedTokenizerFast'})
`,
  },
  {
    names: ['SmolLM2-7M-Instruct'],
    pre: 'smollm',
    python: `
# SmolLM2: byte-level BPE, tied, f32, the template in a file
path = folder('SmolLM2-7M-Instruct')
t = byte_bpe('smollm', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 400)
randomise(T.LlamaForCausalLM(T.LlamaConfig(**common, vocab_size=t.get_vocab_size(), tie_word_embeddings=True, rope_theta=100000, bos_token_id=1, eos_token_id=2, pad_token_id=2))).save_pretrained(path)
save_bpe(path, t, {'bos_token': '<|im_start|>', 'eos_token': '<|im_end|>', 'pad_token': '<|im_end|>', 'unk_token': '<|endoftext|>', 'add_prefix_space': False})
put(path, 'chat_template.jinja', chatml)
`,
  },
  {
    names: ['Llama-3.2-1B-Instruct'],
    pre: 'llama-bpe',
    python: String.raw`
# Llama 3.x: RoPE scaling as a tensor of factors, attention biases, an old way to say it in config.json
path = folder('Llama-3.2-1B-Instruct')
t = byte_bpe(r'\p{N}{1,3}', ['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>'], 420, ignore_merges=True, bos='<|begin_of_text|>')
m = randomise(T.LlamaForCausalLM(T.LlamaConfig(**{**common, 'num_attention_heads': 2, 'num_key_value_heads': 1, 'max_position_embeddings': 131072}, attention_bias=True, vocab_size=t.get_vocab_size(), tie_word_embeddings=True))).bfloat16()
m.save_pretrained(path)
c = json.load(open(path + '/config.json'))
c.pop('rope_parameters', None)
c.update(rope_theta=500000.0, rope_scaling={'factor': 32.0, 'high_freq_factor': 4.0, 'low_freq_factor': 1.0, 'original_max_position_embeddings': 8192, 'rope_type': 'llama3'}, eos_token_id=[1, 2], bos_token_id=0, _name_or_path='meta-llama/Llama-3.2-1B-Instruct')
c.pop('head_dim', None)
put(path, 'config.json', c)
save_bpe(path, t, {'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>', 'chat_template': [{'name': 'default', 'template': chatml}, {'name': 'tool use', 'template': 'x' + chatml}]})
`,
  },
  {
    names: ['Qwen2.5-0.5B-Instruct'],
    pre: 'qwen2',
    python: String.raw`
# Qwen2.5: biases, padded vocabulary, NFC
path = folder('Qwen2.5-0.5B-Instruct')
t = byte_bpe(r'\p{N}', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
randomise(T.Qwen2ForCausalLM(T.Qwen2Config(**common, vocab_size=t.get_vocab_size() + 5, tie_word_embeddings=True, rope_theta=1000000.0, bos_token_id=0, eos_token_id=2))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'add_bos_token': False, 'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml, 'unk_token': None})
put(path, 'generation_config.json', {'do_sample': True, 'temperature': 0.7, 'top_p': 0.8, 'top_k': 20, 'repetition_penalty': 1.05})
`,
  },
  {
    names: ['Qwen3-0.6B'],
    pre: 'qwen2',
    python: String.raw`
# Qwen3: norms of heads, heads wider than hidden / heads, yarn
path = folder('Qwen3-0.6B')
t = byte_bpe(r'\p{N}', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
randomise(T.Qwen3ForCausalLM(T.Qwen3Config(**common, head_dim=32, vocab_size=t.get_vocab_size(), tie_word_embeddings=False, rope_parameters={'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 1000000.0, 'original_max_position_embeddings': 128}))).half().save_pretrained(path)
save_bpe(path, t, {'add_bos_token': False, 'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml, 'unk_token': None})
`,
  },
  {
    names: ['gemma-3-270m-it', 'gemma-3-4b-it'],
    python: String.raw`
# Gemma 3, text only and as a model with vision
gemma_user = ['<start_of_turn>', '<end_of_turn>', '<unused0>', '\n\n']
gemma_pieces = piece_model(420, dict(dummy=False, unk=3, bos=2, eos=1, pad=0), gemma_user)
gemma_size = sentencepiece.SentencePieceProcessor(model_proto=gemma_pieces).vocab_size()
gemma = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=1, head_dim=32, max_position_embeddings=512, sliding_window=32, query_pre_attn_scalar=32)
gemma_config = {'bos_token': '<bos>', 'eos_token': '<eos>', 'pad_token': '<pad>', 'unk_token': '<unk>', 'add_bos_token': True, 'add_eos_token': False, 'tokenizer_class': 'GemmaTokenizer',
    'added_tokens_decoder': {'0': added('<pad>'), '1': added('<eos>'), '2': added('<bos>'), '3': added('<unk>'), '4': added('<start_of_turn>'), '5': added('<end_of_turn>'), '6': added('<unused0>', special=False), '7': added('\n\n', special=False)}}
path = folder('gemma-3-270m-it')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(gemma_pieces)
randomise(T.Gemma3ForCausalLM(T.Gemma3TextConfig(**gemma, vocab_size=gemma_size + 4))).bfloat16().save_pretrained(path)
put(path, 'tokenizer_config.json', {**gemma_config, 'chat_template': chatml})
path = folder('gemma-3-4b-it')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(gemma_pieces)
vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14)
randomise(T.Gemma3ForConditionalGeneration(T.Gemma3Config(text_config=dict(**gemma, vocab_size=gemma_size, final_logit_softcapping=30.0), vision_config=vision))).half().save_pretrained(path)
c = json.load(open(path + '/config.json'))
c['text_config'].pop('rope_parameters', None)
c['text_config'].update(rope_scaling={'factor': 8.0, 'rope_type': 'linear'}, rope_theta=1000000, rope_local_base_freq=10000)
put(path, 'config.json', c)
put(path, 'tokenizer_config.json', gemma_config)
put(path, 'chat_template.json', {'chat_template': chatml})
`,
  },
  {
    names: ['gemma-json'],
    pieces: true,
    python: `
# the pieces of Gemma's as tokenizer.json only
path = folder('gemma-json')
randomise(T.Gemma3ForCausalLM(T.Gemma3TextConfig(**gemma, vocab_size=gemma_size))).bfloat16().save_pretrained(path)
t = json_of_pieces(gemma_pieces, True, '<unk>', '<s>', gemma_user)
put(path, 'tokenizer.json', t)
put(path, 'tokenizer_config.json', {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'PreTrainedTokenizerFast'})
`,
  },
  {
    names: ['gemma-4-E2B-it', 'gemma-4-31B-it'],
    python: `
# Gemma 4: embeddings of each layer's own and shared keys; keys that are values, capped logits
turns = ['<|turn>', '<turn|>', '<|tool_call>', '<mask>']
gemma4_pieces = piece_model(420, dict(dummy=False, unk=3, bos=2, eos=1, pad=0), turns)
gemma4_size = sentencepiece.SentencePieceProcessor(model_proto=gemma4_pieces).vocab_size()
both = ['sliding_attention', 'full_attention']
gemma4 = dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, head_dim=16, global_head_dim=32, max_position_embeddings=512, sliding_window=9, vocab_size=gemma4_size, vocab_size_per_layer_input=gemma4_size)
texts4 = {
    'gemma-4-E2B-it': T.Gemma4TextConfig(**gemma4, num_key_value_heads=1, num_hidden_layers=6, layer_types=both * 3, num_kv_shared_layers=2, use_double_wide_mlp=True, hidden_size_per_layer_input=32, final_logit_softcapping=30.0),
    'gemma-4-31B-it': T.Gemma4TextConfig(**gemma4, num_key_value_heads=2, num_hidden_layers=4, layer_types=both * 2, num_global_key_value_heads=1, attention_k_eq_v=True, hidden_size_per_layer_input=0, final_logit_softcapping=10.0),
}
for name, text in texts4.items():
    path = folder(name)
    m = randomise(T.Gemma4ForCausalLM(text)).bfloat16()
    # Scores are divided by nothing: the norms of heads do it, as in published models.
    for i, layer in enumerate(m.model.layers): layer.layer_scalar.fill_(0.7 + 0.1 * i); layer.self_attn.q_norm.weight.data *= 0.2
    m.save_pretrained(path)
    t = json_of_pieces(gemma4_pieces, True, '<unk>', '<s>', turns)
    put(path, 'tokenizer.json', t)
    put(path, 'tokenizer_config.json', {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'pad_token': '<pad>', 'mask_token': '<mask>', 'eot_token': '<turn|>', 'extra_special_tokens': ['<|turn>'], 'tokenizer_class': 'GemmaTokenizer', 'chat_template': chatml})
`,
  },
  {
    names: ['Phi-4-mini-instruct'],
    pre: 'gpt-4o',
    python: `
# Phi-4-mini: fused linears, three quarters of a head rotated, factors for contexts of either length
path = folder('Phi-4-mini-instruct')
t = byte_bpe('gpt-4o', ['<|endoftext|>', '<|user|>', '<|end|>'], 410)
rope = {'rope_type': 'longrope', 'rope_theta': 10000.0, 'partial_rotary_factor': 0.75, 'long_factor': [1 + i / 2 for i in range(6)], 'short_factor': [1 + i / 8 for i in range(6)]}
randomise(T.Phi3ForCausalLM(T.Phi3Config(**{**common, 'max_position_embeddings': 4096}, vocab_size=t.get_vocab_size() + 3, tie_word_embeddings=True, original_max_position_embeddings=512, rope_parameters=rope, bos_token_id=0, eos_token_id=0, pad_token_id=0, sliding_window=262144))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'bos_token': '<|endoftext|>', 'eos_token': '<|endoftext|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml, 'tokenizer_class': 'GPT2Tokenizer'})
`,
  },
  {
    names: ['Phi-3-mini-4k-instruct'],
    python: `
# Phi-3-mini: SentencePiece, an untied head, no scaling, old names of what rotates
path = folder('Phi-3-mini-4k-instruct')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(llama_pieces)
randomise(T.Phi3ForCausalLM(T.Phi3Config(**common, vocab_size=size + 3, original_max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=2))).half().save_pretrained(path)
c = json.load(open(path + '/config.json'))
c.pop('rope_parameters')
c.update(rope_theta=10000.0, rope_scaling=None)
put(path, 'config.json', c)
put(path, 'tokenizer_config.json', {'add_bos_token': True, 'add_eos_token': False, 'bos_token': '<s>', 'eos_token': '</s>', 'pad_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'LlamaTokenizer', 'chat_template': chatml,
    'added_tokens_decoder': {'0': added('<unk>'), '1': added('<s>'), '2': added('</s>'), str(size): added('<|user|>'), str(size + 1): added('<|end|>', special=False), str(size + 2): added('▁hm▁', special=False)}})
`,
  },
  {
    names: ['granite-3.3-2b-instruct'],
    pre: 'qwen2',
    python: String.raw`
# Granite 3: Llama's layer between constant factors
path = folder('granite-3.3-2b-instruct')
t = byte_bpe(r'\p{N}', ['<|end_of_text|>', '<|start_of_role|>', '<|end_of_role|>'], 410, normalizer=normalizers.NFC())
factors = dict(attention_multiplier=0.125, embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=0.5)
randomise(T.GraniteForCausalLM(T.GraniteConfig(**common, **factors, vocab_size=t.get_vocab_size(), tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'bos_token': '<|end_of_text|>', 'eos_token': '<|end_of_text|>', 'pad_token': '<|end_of_text|>', 'chat_template': chatml, 'add_prefix_space': False})
`,
  },
  {
    names: ['granite-4.0-350m'],
    pre: 'qwen2',
    python: `
# Granite 4, a dense one: the class of the hybrid models, gate and up in one matrix
path = folder('granite-4.0-350m')
hybrid = dict(num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=96, position_embedding_type='rope', layer_types=['attention'] * 3)
randomise(T.GraniteMoeHybridForCausalLM(T.GraniteMoeHybridConfig(**common, **factors, **hybrid, vocab_size=t.get_vocab_size(), tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0))).bfloat16().save_pretrained(path)
c = json.load(open(path + '/config.json'))
put(path, 'config.json', {**c, 'layer_types': ['attention'] * 3})
save_bpe(path, t, {'bos_token': '<|end_of_text|>', 'eos_token': '<|end_of_text|>', 'pad_token': '<|end_of_text|>', 'chat_template': chatml})
`,
  },
  {
    names: ['SmolLM3-3B'],
    pre: 'llama-bpe',
    python: String.raw`
# SmolLM3: one layer of four without positions
path = folder('SmolLM3-3B')
t = byte_bpe(r'\p{N}{1,3}', ['<|begin_of_text|>', '<|end_of_text|>', '<|im_end|>'], 420, ignore_merges=True, bos='<|begin_of_text|>')
randomise(T.SmolLM3ForCausalLM(T.SmolLM3Config(**{**common, 'num_hidden_layers': 5}, vocab_size=t.get_vocab_size(), rope_theta=5000000.0, bos_token_id=0, eos_token_id=2, pad_token_id=2))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': '<|im_end|>'})
put(path, 'chat_template.jinja', chatml)
`,
  },
  {
    names: ['Ministral-3-3B-Instruct-2512', 'Mistral-Small-3.1-24B-Instruct-2503'],
    pre: 'qwen2',
    python: String.raw`
# Mistral 3: stretched by YaRN, and within a model that sees
stretched = json.loads('${JSON.stringify(stretched)}')
for name, text, tied in [('Ministral-3-3B-Instruct-2512', T.Ministral3Config, True), ('Mistral-Small-3.1-24B-Instruct-2503', T.MistralConfig, False)]:
    path = folder(name)
    t = byte_bpe(r'\p{N}', ['<s>', '</s>', '[INST]'], 410, normalizer=normalizers.NFC(), bos='<s>')
    more = dict(rope_parameters=stretched) if tied else dict(rope_theta=1000000.0, sliding_window=None)
    inner = text(**common, head_dim=32, vocab_size=t.get_vocab_size(), tie_word_embeddings=tied, bos_token_id=0, eos_token_id=1, pad_token_id=1, **more)
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14, head_dim=16)
    m = T.Ministral3ForCausalLM(inner) if tied else T.Mistral3ForConditionalGeneration(T.Mistral3Config(text_config=inner.to_dict(), vision_config=dict(model_type='pixtral', **vision), tie_word_embeddings=False))
    randomise(m).bfloat16().save_pretrained(path)
    save_bpe(path, t, {'bos_token': '<s>', 'eos_token': '</s>', 'pad_token': '</s>', 'chat_template': chatml})
`,
  },
  {
    names: ['ERNIE-4.5-0.3B-PT'],
    python: `
# ERNIE 4.5: SentencePiece, neighbours rotate
path = folder('ERNIE-4.5-0.3B-PT')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(llama_pieces)
randomise(T.Ernie4_5ForCausalLM(T.Ernie4_5Config(**common, head_dim=32, vocab_size=size, bos_token_id=1, eos_token_id=2, pad_token_id=0))).bfloat16().save_pretrained(path)
put(path, 'tokenizer_config.json', {'add_bos_token': False, 'add_eos_token': False, 'add_prefix_space': True, 'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'Ernie4_5_Tokenizer', 'chat_template': chatml})
`,
  },
  {
    names: ['EXAONE-4.0-1.2B'],
    pre: 'qwen2',
    python: String.raw`
# EXAONE 4.0: norms behind, Llama 3's factors
path = folder('EXAONE-4.0-1.2B')
t = byte_bpe(r'\p{N}', ['[BOS]', '[|endofturn|]', '[|user|]'], 410, normalizer=normalizers.NFC())
factors4 = {'rope_type': 'llama3', 'rope_theta': 1000000.0, 'factor': 16.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0, 'original_max_position_embeddings': 128}
randomise(T.Exaone4ForCausalLM(T.Exaone4Config(**common, sliding_window=None, layer_types=['full_attention'] * 3, vocab_size=t.get_vocab_size(), tie_word_embeddings=True, rope_parameters=factors4, bos_token_id=0, eos_token_id=1, pad_token_id=1))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'bos_token': '[BOS]', 'eos_token': '[|endofturn|]', 'pad_token': '[|endofturn|]', 'chat_template': chatml})
`,
  },
  {
    names: ['LFM2-350M'],
    pre: 'qwen2',
    python: String.raw`
# LFM2: convolutions, a width that is adjusted, names of its own
path = folder('LFM2-350M')
t = byte_bpe(r'\p{N}', ['<|startoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
kinds = ['conv', 'full_attention', 'conv']
randomise(T.Lfm2ForCausalLM(T.Lfm2Config(**{**common, 'intermediate_size': 130}, block_multiple_of=32, layer_types=kinds, vocab_size=t.get_vocab_size(), bos_token_id=0, eos_token_id=2, pad_token_id=0))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'bos_token': '<|startoftext|>', 'eos_token': '<|im_end|>', 'pad_token': '<|startoftext|>', 'chat_template': chatml})
`,
  },
  {
    names: ['Qwen3.5-0.8B', 'Qwen3.5-4B'],
    pre: 'qwen2',
    python: String.raw`
# Qwen3.5: a model with vision, as published, with as many heads of values as of keys; a model of texts with twice as many, tied
deltas = dict(linear_conv_kernel_dim=4, linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2)
turned = dict(rope_type='default', rope_theta=10000000.0, partial_rotary_factor=0.5, mrope_section=[2, 1, 1], mrope_interleaved=True)
sight = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=1, patch_size=14, spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=64, num_position_embeddings=16)
for name, heads in (('Qwen3.5-0.8B', 2), ('Qwen3.5-4B', 4)):
    path = folder(name)
    t = byte_bpe(r'\p{N}', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
    text = dict(**{**common, 'num_hidden_layers': 4}, **deltas, head_dim=16, linear_num_value_heads=heads, vocab_size=t.get_vocab_size(), rope_parameters=turned, tie_word_embeddings=heads == 4, bos_token_id=0, eos_token_id=2, pad_token_id=0)
    if heads == 2: m = T.Qwen3_5ForConditionalGeneration(T.Qwen3_5Config(text_config=text, vision_config=sight, tie_word_embeddings=False))
    else: m = T.Qwen3_5ForCausalLM(T.Qwen3_5TextConfig(**text))
    randomise(m).bfloat16().save_pretrained(path)
    save_bpe(path, t, {'bos_token': None, 'add_bos_token': False, 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml})
`,
  },
];
