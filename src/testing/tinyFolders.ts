import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPython, type Python } from './python.js';

/** Python that makes small random Hugging Face folders of every family, with tokenisers trained on the spot, and runs llama.cpp's converter on them. */

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Packages that llama.cpp's converter and the makers below import. */
const packages = ['torch', 'transformers', 'safetensors', 'tokenizers', 'sentencepiece', 'numpy', 'yaml'];

/** The source of the pinned release of llama.cpp, as `scripts/fetch-llama-source.mjs` unpacks it. */
export function llamaSource(): string | undefined {
  const folders = [process.env.LOAM_TEST_LLAMA_CPP, join(root, '.cache', 'llama-source')];
  return folders.find((folder) => folder !== undefined && existsSync(join(folder, 'convert_hf_to_gguf.py')));
}

/** Python and the converter, or the reason why they are not here. */
export function findReference(): { python: Python; source: string } | string {
  const python = findPython(...packages);
  if (typeof python === 'string') return python;
  const source = llamaSource();
  return source === undefined
    ? 'no source of llama.cpp: run node scripts/fetch-llama-source.mjs (LOAM_TEST_LLAMA_CPP names another place)'
    : { python, source };
}

/** The folders that `makeFolders` makes, with the family and the tokeniser of each. */
export const folders = [
  'TinyLlama-1.1B-Chat-v1.0',
  'llama-json',
  'SmolLM2-7M-Instruct',
  'Llama-3.2-1B-Instruct',
  'Qwen2.5-0.5B-Instruct',
  'Qwen3-0.6B',
  'gemma-3-270m-it',
  'gemma-3-4b-it',
  'gemma-json',
] as const;

/** Makes the folders in the one that is its argument. */
export const makeFolders = String.raw`
import json, os, sys, io
import torch, sentencepiece
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, trainers, pre_tokenizers, decoders, normalizers, processors, Regex, AddedToken
from transformers import (AutoConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
    Gemma3TextConfig, Gemma3ForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration, PreTrainedTokenizerFast)
out = sys.argv[1]
torch.manual_seed(5)
corpus = [line for line in '''
The quick brown fox jumps over the lazy dog, and the dog's owner didn't mind: it's 1234 times he'd seen that.
Proteins bind to receptors in the membrane; 33 of 333 cells were labelled 3 hours after 3.5 mg were given.
def add(a, b):\n    return a + b\n\n\nprint(add(1, 22))
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Съешь же ещё этих мягких французских булок.
我想在苹果工作1314151天 かな カナ 한국어 🚀 ✅ (emoji) ------=======
'''.split('\n') if line] * 4

def folder(name):
    path = os.path.join(out, name)
    os.makedirs(path, exist_ok=True)
    return path

def put(path, name, value):
    with open(os.path.join(path, name), 'w', encoding='utf-8') as f:
        f.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

def randomise(model):
    for name, p in model.named_parameters():
        p.data = torch.randn_like(p) * (0.2 if p.dim() > 1 else 0.1) + (1.0 if name.endswith('norm.weight') and 'gemma' not in str(type(model)).lower() else 0.0)
    return model

def piece_model(vocab, specials, user):
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=buffer, vocab_size=vocab, model_type='bpe',
        byte_fallback=True, character_coverage=1.0, user_defined_symbols=user, normalization_rule_name='identity',
        remove_extra_whitespaces=False, add_dummy_prefix=specials['dummy'], unk_id=specials['unk'], bos_id=specials['bos'],
        eos_id=specials['eos'], pad_id=specials['pad'], minloglevel=2, hard_vocab_limit=False)
    return buffer.getvalue()

def added(content, special=True, normalized=False):
    return {'content': content, 'lstrip': False, 'normalized': normalized, 'rstrip': False, 'single_word': False, 'special': special}

chatml = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"

# The pieces of a SentencePiece model with the merges that give them, as transformers' converters of slow tokenisers write tokenizer.json.
def json_of_pieces(data, gemma, unk, bos, user):
    sp = sentencepiece.SentencePieceProcessor(model_proto=data)
    vocab = {sp.id_to_piece(i): i for i in range(sp.vocab_size())}
    scores = {sp.id_to_piece(i): sp.get_score(i) for i in range(sp.vocab_size())}
    merges = []
    for piece, score in scores.items():
        local = []
        for i in range(1, len(piece)):
            l, r = piece[:i], piece[i:]
            if l in vocab and r in vocab and not sp.is_byte(vocab[piece]):
                local.append((l, r, score))
        merges += sorted(local, key=lambda x: (vocab[x[0]], vocab[x[1]]))
    merges = [[l, r] for l, r, s in sorted(merges, key=lambda x: x[2], reverse=True)]
    specials = [sp.id_to_piece(i) for i in range(sp.vocab_size()) if sp.is_control(i) or sp.is_unknown(i)]
    if gemma:
        norm = {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'}
        pre = {'type': 'Split', 'pattern': {'String': ' '}, 'behavior': 'MergedWithPrevious', 'invert': False}
        strip = []
    else:
        norm = {'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': '\u2581'}, {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'}]}
        pre = None
        strip = [{'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]
    return {'version': '1.0', 'truncation': None, 'padding': None,
        'added_tokens': sorted([{'id': vocab[s], **added(s)} for s in specials] + [{'id': vocab[s], **added(s, special=False)} for s in user], key=lambda t: t['id']), 'normalizer': norm, 'pre_tokenizer': pre,
        'post_processor': {'type': 'TemplateProcessing', 'single': [{'SpecialToken': {'id': bos, 'type_id': 0}}, {'Sequence': {'id': 'A', 'type_id': 0}}],
            'pair': [{'SpecialToken': {'id': bos, 'type_id': 0}}, {'Sequence': {'id': 'A', 'type_id': 0}}, {'SpecialToken': {'id': bos, 'type_id': 1}}, {'Sequence': {'id': 'B', 'type_id': 1}}],
            'special_tokens': {bos: {'id': bos, 'ids': [vocab[bos]], 'tokens': [bos]}}},
        'decoder': {'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '}, {'type': 'ByteFallback'}, {'type': 'Fuse'}] + strip},
        'model': {'type': 'BPE', 'dropout': None, 'unk_token': unk, 'continuing_subword_prefix': None, 'end_of_word_suffix': None,
            'fuse_unk': True, 'byte_fallback': True, 'ignore_merges': False, 'vocab': vocab, 'merges': merges}}

words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
def byte_bpe(pre, specials, size, normalizer=None, ignore_merges=False, bos=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    level = lambda regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    if pre == 'smollm': t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)])
    else: t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words % pre), 'isolated'), level(False)])
    if normalizer: t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=specials[:2]))
    t.add_special_tokens([AddedToken(s, special=True) for s in specials[2:]])
    t.add_tokens([AddedToken('<tool_call>', normalized=False), AddedToken('  \t', normalized=True)])
    t.post_processor = processors.TemplateProcessing(single=bos + ' $A', pair=bos + ' $A ' + bos + ' $B', special_tokens=[(bos, t.token_to_id(bos))]) if bos else processors.ByteLevel(trim_offsets=False)
    return t

def save_bpe(path, t, config):
    t.save(os.path.join(path, 'tokenizer.json'))
    decoder = {str(i): {'content': a.content, 'lstrip': a.lstrip, 'normalized': a.normalized, 'rstrip': a.rstrip, 'single_word': a.single_word, 'special': a.special} for i, a in t.get_added_tokens_decoder().items()}
    put(path, 'tokenizer_config.json', {'added_tokens_decoder': decoder, 'tokenizer_class': 'PreTrainedTokenizerFast', 'clean_up_tokenization_spaces': False, 'model_max_length': 10**30, **config})

common = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512)

# llama with SentencePiece: tokenizer.model, an added token, sharded, bf16, an untied head, a model card
path = folder('TinyLlama-1.1B-Chat-v1.0')
llama_pieces = piece_model(420, dict(dummy=True, unk=0, bos=1, eos=2, pad=-1), [])
open(os.path.join(path, 'tokenizer.model'), 'wb').write(llama_pieces)
size = sentencepiece.SentencePieceProcessor(model_proto=llama_pieces).vocab_size()
randomise(LlamaForCausalLM(LlamaConfig(**common, vocab_size=size + 3, rope_theta=10000.0))).bfloat16().save_pretrained(path, max_shard_size='100KB')
put(path, 'tokenizer_config.json', {'add_bos_token': True, 'add_eos_token': False, 'bos_token': added('<s>'), 'eos_token': {'content': '</s>'}, 'unk_token': '<unk>', 'pad_token': '</s>',
    'added_tokens_decoder': {'0': added('<unk>'), '1': added('<s>'), '2': added('</s>'), str(size): added('<|im_end|>', special=False), str(size + 1): added('\u2581hm\u2581', special=False)},
    'chat_template': chatml, 'model_max_length': 10**30, 'tokenizer_class': 'LlamaTokenizer'})
put(path, 'generation_config.json', {'temperature': 0.7, 'top_k': 50, 'top_p': 0.95, 'repetition_penalty': 1.1, 'max_length': 2048})
put(path, 'README.md', '---\nlicense: apache-2.0\ndatasets:\n- cerebras/SlimPajama-627B\n- bigcode/starcoderdata\nlanguage:\n- en\n- no\nbase_model: TinyLlama/TinyLlama-1.1B-v1.0\ntags: [text, "llama"]\npipeline_tag: text-generation\nwidget:\n  - example_title: Hello\n    text: |\n      a: b\n      - c\n---\n# Tiny\n')

# the same pieces as tokenizer.json only, as transformers 5 saves them
path = folder('llama-json')
t = json_of_pieces(llama_pieces, False, '<unk>', '<s>', [])
randomise(LlamaForCausalLM(LlamaConfig(**common, vocab_size=size, rope_theta=10000.0))).half().save_pretrained(path)
put(path, 'tokenizer.json', t)
put(path, 'tokenizer_config.json', {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'PreTrainedTokenizerFast'})

# SmolLM2: byte-level BPE, tied, f32, the template in a file
path = folder('SmolLM2-7M-Instruct')
t = byte_bpe('smollm', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 400)
randomise(LlamaForCausalLM(LlamaConfig(**common, vocab_size=t.get_vocab_size(), tie_word_embeddings=True, rope_theta=100000, bos_token_id=1, eos_token_id=2, pad_token_id=2))).save_pretrained(path)
save_bpe(path, t, {'bos_token': '<|im_start|>', 'eos_token': '<|im_end|>', 'pad_token': '<|im_end|>', 'unk_token': '<|endoftext|>', 'add_prefix_space': False})
put(path, 'chat_template.jinja', chatml)

# Llama 3.x: RoPE scaling as a tensor of factors, attention biases, an old way to say it in config.json
path = folder('Llama-3.2-1B-Instruct')
t = byte_bpe(r'\p{N}{1,3}', ['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>'], 420, ignore_merges=True, bos='<|begin_of_text|>')
m = randomise(LlamaForCausalLM(LlamaConfig(**{**common, 'num_attention_heads': 2, 'num_key_value_heads': 1, 'max_position_embeddings': 131072}, attention_bias=True, vocab_size=t.get_vocab_size(), tie_word_embeddings=True))).bfloat16()
m.save_pretrained(path)
c = json.load(open(path + '/config.json'))
c.pop('rope_parameters', None)
c.update(rope_theta=500000.0, rope_scaling={'factor': 32.0, 'high_freq_factor': 4.0, 'low_freq_factor': 1.0, 'original_max_position_embeddings': 8192, 'rope_type': 'llama3'}, eos_token_id=[1, 2], bos_token_id=0, _name_or_path='meta-llama/Llama-3.2-1B-Instruct')
c.pop('head_dim', None)
put(path, 'config.json', c)
save_bpe(path, t, {'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>', 'chat_template': [{'name': 'default', 'template': chatml}, {'name': 'tool use', 'template': 'x' + chatml}]})

# Qwen2.5: biases, padded vocabulary, NFC
path = folder('Qwen2.5-0.5B-Instruct')
t = byte_bpe(r'\p{N}', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
randomise(Qwen2ForCausalLM(Qwen2Config(**common, vocab_size=t.get_vocab_size() + 5, tie_word_embeddings=True, rope_theta=1000000.0, bos_token_id=0, eos_token_id=2))).bfloat16().save_pretrained(path)
save_bpe(path, t, {'add_bos_token': False, 'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml, 'unk_token': None})
put(path, 'generation_config.json', {'do_sample': True, 'temperature': 0.7, 'top_p': 0.8, 'top_k': 20, 'repetition_penalty': 1.05})

# Qwen3: norms of heads, heads wider than hidden / heads, yarn
path = folder('Qwen3-0.6B')
t = byte_bpe(r'\p{N}', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 410, normalizer=normalizers.NFC())
randomise(Qwen3ForCausalLM(Qwen3Config(**common, head_dim=32, vocab_size=t.get_vocab_size(), tie_word_embeddings=False, rope_parameters={'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 1000000.0, 'original_max_position_embeddings': 128}))).half().save_pretrained(path)
save_bpe(path, t, {'add_bos_token': False, 'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'chat_template': chatml, 'unk_token': None})

# Gemma 3, text only and as a model with vision
gemma_user = ['<start_of_turn>', '<end_of_turn>', '<unused0>', '\n\n']
gemma_pieces = piece_model(420, dict(dummy=False, unk=3, bos=2, eos=1, pad=0), gemma_user)
gemma_size = sentencepiece.SentencePieceProcessor(model_proto=gemma_pieces).vocab_size()
gemma = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=1, head_dim=32, max_position_embeddings=512, sliding_window=32, query_pre_attn_scalar=32)
gemma_config = {'bos_token': '<bos>', 'eos_token': '<eos>', 'pad_token': '<pad>', 'unk_token': '<unk>', 'add_bos_token': True, 'add_eos_token': False, 'tokenizer_class': 'GemmaTokenizer',
    'added_tokens_decoder': {'0': added('<pad>'), '1': added('<eos>'), '2': added('<bos>'), '3': added('<unk>'), '4': added('<start_of_turn>'), '5': added('<end_of_turn>'), '6': added('<unused0>', special=False), '7': added('\n\n', special=False)}}
path = folder('gemma-3-270m-it')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(gemma_pieces)
randomise(Gemma3ForCausalLM(Gemma3TextConfig(**gemma, vocab_size=gemma_size + 4))).bfloat16().save_pretrained(path)
put(path, 'tokenizer_config.json', {**gemma_config, 'chat_template': chatml})
path = folder('gemma-3-4b-it')
open(os.path.join(path, 'tokenizer.model'), 'wb').write(gemma_pieces)
vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14)
randomise(Gemma3ForConditionalGeneration(Gemma3Config(text_config=dict(**gemma, vocab_size=gemma_size, final_logit_softcapping=30.0), vision_config=vision))).half().save_pretrained(path)
c = json.load(open(path + '/config.json'))
c['text_config'].pop('rope_parameters', None)
c['text_config'].update(rope_scaling={'factor': 8.0, 'rope_type': 'linear'}, rope_theta=1000000, rope_local_base_freq=10000)
put(path, 'config.json', c)
put(path, 'tokenizer_config.json', gemma_config)
put(path, 'chat_template.json', {'chat_template': chatml})
path = folder('gemma-json')
randomise(Gemma3ForCausalLM(Gemma3TextConfig(**gemma, vocab_size=gemma_size))).bfloat16().save_pretrained(path)
t = json_of_pieces(gemma_pieces, True, '<unk>', '<s>', gemma_user)
put(path, 'tokenizer.json', t)
put(path, 'tokenizer_config.json', {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'tokenizer_class': 'PreTrainedTokenizerFast'})
print('made')
`;

/** Runs llama.cpp's converter: arguments are its source, then JSON of [folder, out, type, name of an unknown pre-tokeniser]. Prints the hash of each tokeniser. */
export const runReference = `
import sys, json, os, logging
from hashlib import sha256
source, jobs = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, source)
import convert_hf_to_gguf as script
from conversion.base import TextModel
original = TextModel.get_vocab_base_pre
hashes, pre = {}, None
def recognise(self, tokenizer):
    # Vocabularies trained here are known to nobody: the name is given, after its hash has been taken.
    text = next(c for c in original.__code__.co_consts if isinstance(c, str) and '1314151' in c)
    hashes[job[0]] = sha256(str(tokenizer.encode(text)).encode()).hexdigest()
    try: return original(self, tokenizer)
    except NotImplementedError: return pre
TextModel.get_vocab_base_pre = recognise
logging.disable(logging.CRITICAL)
failed = {}
for job in jobs:
    pre = job[3]
    sys.argv = ['convert_hf_to_gguf.py', job[0], '--outfile', job[1], '--outtype', job[2]]
    try: script.main()
    except Exception as e: failed[job[0]] = repr(e)
print(json.dumps({'hashes': hashes, 'failed': failed}))
`;

/** Logits of transformers for each folder, and how its tokeniser cuts some texts: JSON by folder. */
export const computeLogits = String.raw`
import sys, os, json, torch, sentencepiece
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3ForConditionalGeneration
from tokenizers import Tokenizer
scratch, names = sys.argv[1], json.loads(sys.argv[2])
texts = ['Hello world', "it's 1234 times, he'd SEEN", 'a\n\n\nb   c', 'Zwölf 我想 🚀', ' leading  and trailing ']
found = {}
for name in names:
    path = os.path.join(scratch, name)
    config = AutoConfig.from_pretrained(path)
    kind = Gemma3ForConditionalGeneration if config.architectures[0] == 'Gemma3ForConditionalGeneration' else AutoModelForCausalLM
    model = kind.from_pretrained(path, dtype=torch.float32, attn_implementation='eager').eval()
    ids = [3 + (i * 7919) % 250 for i in range(60)]
    with torch.no_grad(): logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    if os.path.exists(path + '/tokenizer.json'):
        t = Tokenizer.from_file(path + '/tokenizer.json')
        cut = {text: t.encode(text, add_special_tokens=False).ids for text in texts}
    else:
        sp = sentencepiece.SentencePieceProcessor(model_file=path + '/tokenizer.model')
        cut = {text: sp.encode(text) for text in texts}
    found[name] = {'ids': ids, 'logits': logits.contiguous().numpy().tobytes().hex(), 'texts': cut}
print(json.dumps(found))
`;
