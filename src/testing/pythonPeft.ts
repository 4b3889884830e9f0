/**
 * Python that makes, for each of `peftMembers`, a tiny random model of transformers, adapters of PEFT on it with their logits, and what
 * llama.cpp's own converters make of both. Arguments: folder, llama.cpp's source, the members, the modules that PEFT adapts by class.
 */
export const makeReference = `
import json, os, runpy, sys, torch, numpy as np
from pathlib import Path
import transformers as T
from peft import LoraConfig, PeftModel, get_peft_model
folder, source, members, modules = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
sys.path[:0] = [source, source + '/gguf-py']
import gguf
from conversion import get_model_class
from conversion.base import ModelBase
# Layers that draft what a model may write are no part of it.
ModelBase.no_mtp = True

VOCABULARY = 265
tokens = torch.tensor([[3 + (i * 7919) % 250 for i in range(24)]])
common = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
              bos_token_id=1, eos_token_id=2, pad_token_id=0, rope_theta=10000.0, initializer_range=0.2)
# Without the width of a head, which some families don't have.
headless = {k: v for k, v in common.items() if k != 'head_dim'}
# The part that sees, whose layers have modules of the same names.
sight = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
def adapters(modules, sees):
    short = [m.split('.')[-1] for m in modules]
    every = dict(r=4, lora_alpha=8, target_modules='.*language_model.*[.](' + '|'.join(short) + ')' if sees else short)
    return {
        'plain': every,
        'mixed': {**every, 'use_rslora': True, 'rank_pattern': {short[0]: 6, 'layers.1.' + modules[-1]: 3}, 'alpha_pattern': {short[1]: 5}},
    }

def logits(model):
    with torch.no_grad(): return model(input_ids=tokens).logits[0].float().numpy()

def characters():
    direct = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 1000))
    return [chr(b if b in direct else next(extra)) for b in range(256)]

def set_vocab(self):
    # The vocabulary is not what is compared: libllama only has to load it.
    words = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', *characters()]
    words += [f'<unused{i}>' for i in range(VOCABULARY - len(words))]
    w = self.gguf_writer
    w.add_tokenizer_model('gpt2'); w.add_tokenizer_pre('smollm'); w.add_token_list(words)
    w.add_token_types([3 if i < 3 else 1 for i in range(VOCABULARY)]); w.add_token_merges(['t h'])
    w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_add_bos_token(False)

def to_gguf(model, out):
    config = json.load(open(model / 'config.json'))
    base = get_model_class(config['architectures'][0])
    # One class stands for two kinds of models, and hands all to another.
    base = getattr(base, 'Ministral3Model', base)
    cls = type('Tiny', (base,), {'set_vocab': set_vocab, 'model_arch': base.model_arch})
    with torch.inference_mode(): cls(model, gguf.LlamaFileType.ALL_F32, out).write()

for member in members:
    torch.manual_seed(7)
    at = folder / member['name']
    config = eval(member['config'])
    sees = hasattr(config, 'vision_config')
    kind = T.AutoModelForImageTextToText if sees else T.AutoModelForCausalLM
    model = kind.from_config(config, attn_implementation='eager').float().eval()
    for p in model.parameters():
        if p.dim() == 1: torch.nn.init.normal_(p, 0 if 'Gemma3' in type(model).__name__ else 1, 0.1)
    model.save_pretrained(at / 'model')
    written = json.load(open(at / 'model' / 'config.json'))
    json.dump({**written, **member.get('published', {})}, open(at / 'model' / 'config.json', 'w'))
    np.save(at / 'base.npy', logits(model))
    # Gemma's converter counts the tokens.
    tokenizer = {'model': {'vocab': {str(i): i for i in range(VOCABULARY)}}, 'added_tokens': []}
    json.dump(tokenizer, open(at / 'model' / 'tokenizer.json', 'w'))
    to_gguf(at / 'model', at / 'model.gguf')
    for name, settings in adapters(modules[type(model).__name__], sees).items():
        fresh = kind.from_pretrained(at / 'model', attn_implementation='eager').float().eval()
        peft = get_peft_model(fresh, LoraConfig(task_type='CAUSAL_LM', **settings)).eval()
        for key, p in peft.named_parameters():
            if 'lora_' in key: torch.nn.init.normal_(p, 0, 0.15)
        peft.save_pretrained(at / name)
        np.save(at / (name + '.npy'), logits(peft))
    # llama.cpp's converter knows one alpha and no rsLoRA: the plain one only.
    if member.get('unconverted'): continue
    sys.argv = ['convert', '--base', str(at / 'model'), '--outfile', str(at / 'theirs.gguf'), '--outtype', 'f32', str(at / 'plain')]
    runpy.run_path(source + '/convert_lora_to_gguf.py', run_name='__main__')
`;

/** Python that loads `loam` into PEFT onto `model`, and `merged` alone, and writes the logits. Arguments: folder, families. */
export const runPeft = `
import json, sys, torch, numpy as np
import transformers as T
from peft import PeftModel
tokens = torch.tensor([[3 + (i * 7919) % 250 for i in range(24)]])
# By the class that config.json names, as it is published.
kind = lambda path: getattr(T, json.load(open(path + '/config.json'))['architectures'][0])
load = lambda path: kind(path).from_pretrained(path, attn_implementation='eager').float().eval()
for family in sys.argv[2:]:
    at = f'{sys.argv[1]}/{family}'
    models = {'loam': PeftModel.from_pretrained(load(at + '/model'), at + '/loam').eval(), 'merged': load(at + '/merged')}
    for name, model in models.items():
        with torch.no_grad(): np.save(f'{at}/{name}.npy', model(input_ids=tokens).logits[0].float().numpy())
`;
