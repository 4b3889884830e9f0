import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { findPython } from '../testing/python.js';
import { scratchFolder } from '../testing/scratch.js';
import { ChatTemplate } from './chatTemplate.js';

/** Templates rendered here and by Python's jinja2, set up as transformers does. */

const python = findPython('jinja2');
const folder = scratchFolder();

const REFERENCE = `
import json, sys
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
def fail(message): raise Exception(message)
env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
env.filters['tojson'] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
env.globals['raise_exception'] = fail
out = []
for case in json.load(open(sys.argv[1])):
    try:
        out.append(env.from_string(case['template']).render(messages=case['messages'], add_generation_prompt=case['prompt'], bos_token='<s>', eos_token='</s>', tools=None))
    except Exception as error:
        out.append(None)
print(json.dumps(out))
`;

/** Of a message's content: every method and filter that published templates use, and their arguments. */
const expressions = [
  ...['c.strip()', "c.strip('\\n')", "c.lstrip('\\n')", "c.rstrip('\\n ')", "c.strip('a')", 'c.lstrip()', 'c.rstrip()'],
  ...[
    'c | trim',
    "c | trim('\\n')",
    'c.upper()',
    'c.lower()',
    'c.title()',
    'c.capitalize()',
    'c | title',
    'c | capitalize',
  ],
  ...[
    "c.split('</think>')[-1]",
    "c.split('</think>')[0].split('<think>')[-1]",
    'c.split() | join("|")',
    "c.split(None, 1) | join('|')",
  ],
  ...[
    "c.split(' ', 1) | join('|')",
    "c.split(' ', maxsplit=2) | join('|')",
    "c.rsplit(' ', 1) | join('|')",
    "c.rsplit(None, 1) | join('|')",
  ],
  ...[
    "c.splitlines() | join('|')",
    "c.replace('a', 'b')",
    "c.replace('a', 'b', 1)",
    "c | replace('a', 'b')",
    "c.startswith('<')",
  ],
  ...[
    "c.endswith('\\n')",
    "'think' in c",
    'c | length',
    'c[:5]',
    'c[-3:]',
    'c[::-1]',
    "c.find('a')",
    "c.rfind('a')",
    "c.count('a')",
  ],
  ...[
    "c.removeprefix('<')",
    "c.removesuffix('\\n')",
    "c.partition(' ') | join('|')",
    "c.rpartition(' ') | join('|')",
    "'|'.join(c.split())",
  ],
  ...[
    'c.isdigit()',
    'c.isspace()',
    'c.isupper()',
    'c.islower()',
    'c.isalpha()',
    'c.isalnum()',
    'c | first',
    'c | last',
    'c | list | length',
  ],
  ...[
    'c | tojson',
    'c | indent(2)',
    'c | indent',
    'c | string',
    "c == '1'",
    'c == 1',
    'c != none',
    'd == none',
    'd is none',
    'd is defined',
  ],
  ...[
    'c ~ 1 ~ true ~ none',
    '1 == 1.0',
    'true == 1',
    "[1, 'a'] == [1, 'a']",
    "{'a': 1} == {'a': 1}",
    '(7.9 | int) ~ (-7.9 | int)',
    'true',
    '1.0',
    '-0.0',
  ],
  ...[
    "c | default('x')",
    "d | default('x')",
    "('' | default('x', true))",
    'c | wordcount',
    'c | reverse',
    'c is string',
    'loop is defined',
  ],
  ...[
    'c.swapcase()',
    'c | upper',
    'c | lower',
    '(c | length) // 2',
    "'%s' is string",
    "c.split('\\n') | last",
    "c.split('\\n') | first",
  ],
];

const contents = [
  '',
  ' ',
  '1',
  'plain words here',
  '\n\n    return x\n',
  '<think>\nwhy  \n</think>\n\n   first line\n      second line  \n',
  'a\tb\u00a0c \u2003 d',
  'Ärger über ẞ und ß',
  "it's o'clock, mother-in-law (see below)",
  '👩‍🌾 emoji 🦊',
  '\ufeffmark',
  'x\u2028y\x1cz\x85',
  'aaa',
  'ABC',
  '12345',
  'a "quoted" \\ text',
];

/** Templates of the well-known families, written from how they are documented to render. */
const families: Record<string, string> = {
  chatml:
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  llama2:
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
  llama3:
    "{{- bos_token }}\n{%- for m in messages %}\n    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
  gemma:
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if (m['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
  mistral:
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
  phi3: "{% for m in messages %}{% if m['role'] == 'system' and m['content'] %}{{'<|system|>\\n' + m['content'] + '<|end|>\\n'}}{% elif m['role'] == 'user' %}{{'<|user|>\\n' + m['content'] + '<|end|>\\n'}}{% elif m['role'] == 'assistant' %}{{'<|assistant|>\\n' + m['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
  thinking:
    "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}{%- if m.role == 'assistant' %}{%- set text = m.content %}{%- set thought = '' %}{%- if '</think>' in text %}{%- set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- set text = text.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{%- if loop.index0 > ns.last and (loop.last or thought) %}{{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + text.lstrip('\\n') + '<|im_end|>\\n' }}{%- else %}{{- '<|im_start|>assistant\\n' + text + '<|im_end|>\\n' }}{%- endif %}{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
  granite:
    "{%- for m in messages %}\n{{- '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|start_of_role|>assistant<|end_of_role|>' }}\n{%- endif %}",
};

type Message = { role: 'system' | 'user' | 'assistant'; content: string };

describe('templates', { skip: typeof python === 'string' && python }, () => {
  const chats = new Map<string, ChatTemplate>();
  after(() => {
    for (const chat of chats.values()) chat[Symbol.dispose]();
  });
  const render = async (template: string, messages: readonly Message[], prompt: boolean) => {
    const chat = chats.get(template) ?? new ChatTemplate(template, { bos: '<s>', eos: '</s>' }, 'a test');
    chats.set(template, chat);
    return await chat.render(messages, prompt).catch(() => null);
  };
  const reference = async (cases: { template: string; messages: readonly Message[]; prompt: boolean }[]) => {
    if (typeof python === 'string') return [];
    const path = join(folder, 'cases.json');
    writeFileSync(path, JSON.stringify(cases));
    return JSON.parse(await python.run(REFERENCE, path)) as (string | null)[];
  };

  it('of the well-known families are rendered as in Python, byte for byte', async () => {
    const cases = Object.values(families).flatMap((template) =>
      contents
        .filter((content) => content !== '')
        .flatMap((content) =>
          [true, false].map((prompt) => ({
            template,
            prompt,
            messages: [
              ...(content.length % 2 ? [{ role: 'system', content }] : []),
              { role: 'user', content },
              { role: 'assistant', content: `<think>\n ${content}\n</think>\n\n${content}` },
              ...(prompt ? [{ role: 'user', content }] : []),
            ] as Message[],
          })),
        ),
    );
    const expected = await reference(cases);
    for (const [i, { template, messages, prompt }] of cases.entries()) {
      assert.equal(
        await render(template, messages, prompt),
        expected[i],
        JSON.stringify({ template: template.slice(0, 60), messages }),
      );
    }
  });

  it('use methods, filters and operators with the results of Python', async () => {
    const template = expressions
      .map((expression, i) => `${i}:{% if true %}{% set d = messages[0].missing %}{{ ${expression} }}{% endif %}\x02`)
      .join('');
    const whole = `{% for m in messages %}{% set c = m.content %}${template}{% endfor %}`;
    const cases = contents.map((content) => ({
      template: whole,
      prompt: false,
      messages: [{ role: 'user', content } as Message],
    }));
    const expected = await reference(cases);
    const differing: string[] = [];
    for (const [i, { messages }] of cases.entries()) {
      const [ours, theirs] = [
        (await render(whole, messages, false))?.split('\x02') ?? ['refused'],
        expected[i]?.split('\x02') ?? ['refused'],
      ];
      for (const [k, part] of theirs.entries()) {
        if (ours[k] !== part)
          differing.push(
            `${expressions[k]} of ${JSON.stringify(messages[0]!.content)}: ${JSON.stringify(ours[k])}, expected ${JSON.stringify(part)}`,
          );
      }
    }
    assert.deepEqual(differing, []);
  });
});
