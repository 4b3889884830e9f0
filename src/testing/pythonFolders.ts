import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hfFolders } from './hfFolders.js';
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
export function findReference(...more: string[]): { python: Python; source: string } | string {
  const python = findPython(...packages, ...more);
  if (typeof python === 'string') return python;
  const source = llamaSource();
  return source === undefined
    ? 'no source of llama.cpp: run node scripts/fetch-llama-source.mjs (LOAM_TEST_LLAMA_CPP names another place)'
    : { python, source };
}

/** The folders that `makeFolders` makes. */
export const folders: readonly string[] = hfFolders.flatMap(({ names }) => names);

/** Makes the folders in the one that is its argument. */
export const makeFolders = String.raw`
import json, os, sys, io
import torch, sentencepiece
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, trainers, pre_tokenizers, decoders, normalizers, processors, Regex, AddedToken
import transformers as T
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
        p.data = torch.randn_like(p) * (0.2 if p.dim() > 1 else 0.1) + (1.0 if name.endswith('norm.weight') and 'Gemma3' not in type(model).__name__ else 0.0)
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
cased_words = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
def byte_bpe(pre, specials, size, normalizer=None, ignore_merges=False, bos=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    level = lambda regex: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    if pre == 'smollm': t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)])
    elif pre == 'gpt-4o': t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cased_words), 'removed', True), level(False)])
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

${hfFolders.map(({ python }) => python.trim()).join('\n\n')}
print('made')
`;

/** Runs llama.cpp's converter: arguments are its source, then JSON of [folder, out, type, name of an unknown pre-tokeniser]. Prints the hash of each tokeniser. */
export const runReference = `
import sys, json, os, logging
from hashlib import sha256
source, jobs = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, source)
import convert_hf_to_gguf as script
from conversion.base import ModelBase, TextModel
# Layers that draft what a model may write are no part of it.
ModelBase.no_mtp = True
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
import transformers as T
from transformers import AutoConfig
from tokenizers import Tokenizer
scratch, names = sys.argv[1], json.loads(sys.argv[2])
texts = ['Hello world', "it's 1234 times, he'd SEEN", 'a\n\n\nb   c', 'Zwölf 我想 🚀', ' leading  and trailing ']
found = {}
for name in names:
    path = os.path.join(scratch, name)
    config = AutoConfig.from_pretrained(path)
    kind = getattr(T, config.architectures[0])
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
