"""LoRA by PEFT on token sequences prepared by Loam, as most people run it: the yardstick of bench/againstPeft.mjs.

pip install torch transformers peft gguf
Reads JSON {model, train, heldout, epochs, batch, rank, lr, dtype, threads, seed} on stdin, sequences as {tokens, targets}; prints one
JSON object a line: {"epoch", "seconds" (training only), "tokens", "nll" (held out)}.
"""
import json, os, random, sys, time
import torch, torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

job = json.load(sys.stdin)
torch.set_num_threads(job['threads']); torch.manual_seed(job['seed']); rng = random.Random(job['seed'])
folder, file = os.path.split(os.path.abspath(job['model']))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=getattr(torch, job['dtype']))
model = get_peft_model(model, LoraConfig(r=job['rank'], lora_alpha=2 * job['rank'], target_modules='all-linear', task_type='CAUSAL_LM'))

def collate(examples):
    longest = max(len(e['tokens']) for e in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long); mask = torch.zeros_like(ids); labels = torch.full_like(ids, -100)
    for i, e in enumerate(examples):
        n = len(e['tokens']); ids[i, :n] = torch.tensor(e['tokens']); mask[i, :n] = 1
        t = torch.tensor(e['targets']); labels[i, t] = ids[i, t]
    return dict(input_ids=ids, attention_mask=mask, labels=labels)

def heldout():
    model.eval(); total = count = 0
    with torch.no_grad():
        for i in range(0, len(job['heldout']), 8):
            b = collate(job['heldout'][i:i + 8])
            logits = model(input_ids=b['input_ids'], attention_mask=b['attention_mask']).logits[:, :-1].float()
            total += F.cross_entropy(logits.flatten(0, 1), b['labels'][:, 1:].flatten(), ignore_index=-100, reduction='sum').item()
            count += (b['labels'][:, 1:] != -100).sum().item()
    model.train(); return total / count

print(json.dumps(dict(epoch=0, seconds=0, tokens=0, nll=heldout())), flush=True)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job['lr'])
seconds = tokens = 0
for epoch in range(1, job['epochs'] + 1):
    order = list(range(len(job['train']))); rng.shuffle(order); start = time.time()
    for i in range(0, len(order), job['batch']):
        b = collate([job['train'][k] for k in order[i:i + job['batch']]])
        model(**b).loss.backward(); optimizer.step(); optimizer.zero_grad(); tokens += int(b['attention_mask'].sum())
    seconds += time.time() - start
    print(json.dumps(dict(epoch=epoch, seconds=seconds, tokens=tokens, nll=heldout())), flush=True)
