/** Templates of families that call tools, written from how they are documented to render. */

interface ToolFamily {
  /** Name of its form. */
  form: string;
  writes: 'calls' | 'tools' | 'nothing';
  source: string;
}

const qwenTools = `{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}`;

const qwenResult = `{%- elif m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}`;

const qwen25 = `${qwenTools}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) or (m.role == 'assistant' and not m.tool_calls) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>' + m.role }}
{%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
{%- for call in m.tool_calls %}
{%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
{{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}{{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
${qwenResult}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

const qwen3 = `${qwenTools}
{%- set ns = namespace(open=true, last=messages|length - 1) %}
{%- for m in messages[::-1] %}
{%- set index = (messages|length - 1) - loop.index0 %}
{%- if ns.open and m.role == 'user' and not (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
{%- set ns.open = false %}{%- set ns.last = index %}
{%- endif %}
{%- endfor %}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{%- set content = m.content %}
{%- set thought = '' %}
{%- if m.reasoning_content is defined and m.reasoning_content is not none %}
{%- set thought = m.reasoning_content %}
{%- elif '</think>' in m.content %}
{%- set content = m.content.split('</think>')[-1].lstrip('\\n') %}
{%- set thought = m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
{%- else %}{{- '<|im_start|>assistant\\n' + content }}
{%- endif %}
{%- if m.tool_calls %}
{%- for call in m.tool_calls %}
{%- if (loop.first and content) or not loop.first %}{{- '\\n' }}{%- endif %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{{- '<tool_call>\\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
{%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
${qwenResult}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}`;

const hermes2 = `{%- macro typed(spec) %}
{%- set names = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if names[spec.type] is defined %}{{- names[spec.type] }}
{%- elif spec.type == "array" %}{{- "list[" + typed(spec.items) + "]" }}
{%- elif spec.type == "object" %}{{- "dict" }}
{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{{- bos_token }}{{- '<|im_start|>system\\nHere are the available tools: <tools> ' }}
{%- for tool in tools %}
{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
{{- '{"type": "function", "function": {"name": "' + tool.name + '", "description": "' + tool.name + '(' }}
{%- for name, fields in tool.parameters.properties|items %}
{{- name + ": " + typed(fields) }}{%- if not loop.last %}{{- ", " }}{%- endif %}
{%- endfor %}
{{- ") - " + tool.description + "\\n\\n" }}
{%- for name, fields in tool.parameters.properties|items %}
{%- if loop.first %}{{- "    Args:\\n" }}{%- endif %}
{{- "        " + name + "(" + typed(fields) + "): " + fields.description|trim }}
{%- endfor %}
{{- '", "parameters": ' }}
{%- if tool.parameters.properties | length == 0 %}{{- "{}" }}{%- else %}{{- tool.parameters|tojson }}{%- endif %}
{{- "}}" }}{%- if not loop.last %}{{- "\\n" }}{%- endif %}
{%- endfor %}
{{- " </tools>For each function call return a json object within <tool_call></tool_call> XML tags.<|im_end|>\\n" }}
{%- for m in messages %}
{%- if m.role == "user" or m.role == "system" or (m.role == "assistant" and m.tool_calls is not defined) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == "assistant" %}
{{- '<|im_start|>' + m.role }}
{%- for call in m.tool_calls %}
{{- '\\n<tool_call>\\n' }}{%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
{{- '{"name": "' + call.name + '", "arguments": ' }}{{- call.arguments|tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif m.role == "tool" %}
{{- '<|im_start|>tool\\n<tool_response>\\n' + m.content }}{{- '\\n</tool_response>' }}{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

const llama3 = `{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\nToday Date: " + date_string + "\\n\\n" + system + "<|eot_id|>" }}
{%- if tools is not none %}
{%- set first = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
{{- 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.\\n\\n' }}
{%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
{{- first + "<|eot_id|>" }}
{%- endif %}
{%- for m in messages %}
{%- if not (m.role == 'ipython' or m.role == 'tool' or 'tool_calls' in m) %}
{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}
{%- elif 'tool_calls' in m %}
{%- if not m.tool_calls|length == 1 %}{{- raise_exception("This model only supports single tool-calls at once!") }}{%- endif %}
{%- set call = m.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{{- '{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- "}<|eot_id|>" }}
{%- else %}
{{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
{%- if m.content is mapping or m.content is iterable %}{{- m.content | tojson }}{%- else %}{{- m.content }}{%- endif %}
{{- "<|eot_id|>" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}`;

/** @param space what v3 has behind its marks, and v7 has not */
const mistralLists = (
  space: string,
) => `{%- if messages[0]["role"] == "system" %}{%- set system = messages[0]["content"] %}{%- set rest = messages[1:] %}
{%- else %}{%- set rest = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set asked = rest | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for m in rest %}
{%- if m["role"] == "user" %}
{%- if tools is not none and (m == asked[-1]) %}
{{- "[AVAILABLE_TOOLS]${space}[" }}
{%- for tool in tools %}
{%- set tool = tool.function %}
{{- '{"type": "function", "function": {' }}
{%- for key, val in tool.items() if key != "return" %}
{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
{%- if not loop.last %}{{- ", " }}{%- endif %}
{%- endfor %}
{{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
{%- endfor %}
{{- "[/AVAILABLE_TOOLS]" }}
{%- endif %}
{%- if loop.last and system is defined %}{{- "[INST]${space}" + system + "\\n\\n" + m["content"] + "[/INST]" }}
{%- else %}{{- "[INST]${space}" + m["content"] + "[/INST]" }}{%- endif %}
{%- elif m.tool_calls is defined and m.tool_calls is not none %}
{{- "[TOOL_CALLS]${space}[" }}
{%- for call in m.tool_calls %}
{%- set out = call.function|tojson %}{{- out[:-1] }}
{%- if not call.id is defined or call.id|length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}
{{- ', "id": "' + call.id + '"}' }}
{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
{%- endfor %}
{%- elif m["role"] == "assistant" %}{{- "${space}" + m["content"]|trim + eos_token }}
{%- elif m["role"] == "tool_results" or m["role"] == "tool" %}
{%- if m.content is defined and m.content.content is defined %}{%- set content = m.content.content %}{%- else %}{%- set content = m.content %}{%- endif %}
{{- '[TOOL_RESULTS]${space}{"content": ' + content|string + ", " }}
{%- if not m.tool_call_id is defined or m.tool_call_id|length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}
{{- '"call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- else %}{{- raise_exception("Only user and assistant roles are supported!") }}
{%- endif %}
{%- endfor %}`;

const mistral11 = `{{- bos_token }}
{%- set asked = messages | selectattr("role", "equalto", "user") | list %}
{%- for m in messages %}
{%- if m['role'] == 'system' %}{{- '[SYSTEM_PROMPT]' + m['content'] + '[/SYSTEM_PROMPT]' }}
{%- elif m['role'] == 'user' %}
{%- if tools is not none and (m == asked[-1]) %}{{- '[AVAILABLE_TOOLS]' + tools|tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{{- '[INST]' + m['content'] + '[/INST]' }}
{%- elif m['role'] == 'assistant' %}
{%- if m.get('tool_calls') %}
{%- for call in m.tool_calls %}
{{- '[TOOL_CALLS]' + call.function.name }}
{%- if not call.id is defined or call.id is not string or call.id|length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}
{{- '[CALL_ID]' + call.id }}{{- '[ARGS]' + call['function']['arguments']|tojson }}
{%- endfor %}
{{- eos_token }}
{%- else %}{{- m['content'] + eos_token }}{%- endif %}
{%- elif m['role'] == 'tool' %}{{- '[TOOL_RESULTS]' + m.tool_call_id + '[TOOL_CONTENT]' + m.content|string + '[/TOOL_RESULTS]' }}
{%- endif %}
{%- endfor %}`;

const functionGemma = `{%- macro declared(properties, required) -%}
{%- set ns = namespace(found=false) -%}
{%- for key, value in properties | dictsort -%}
{%- if ns.found %},{% endif -%}{%- set ns.found = true -%}
{{- key }}:{
{%- if value['description'] -%}description:<escape>{{ value['description'] }}<escape>,{%- endif -%}
{%- if value['type'] | upper == 'STRING' -%}
{%- if value['enum'] -%}enum:{{ written(value['enum']) }},{%- endif -%}
{%- elif value['type'] | upper == 'OBJECT' -%}
properties:{ {%- if value['properties'] is defined and value['properties'] is mapping -%}{{- declared(value['properties'], value['required'] | default([])) -}}{%- endif -%} },
{%- elif value['type'] | upper == 'ARRAY' -%}
{%- if value['items'] is mapping and value['items'] -%}items:{type:<escape>{{ value['items']['type'] | upper }}<escape>},{%- endif -%}
{%- endif -%}
type:<escape>{{ value['type'] | upper }}<escape>}
{%- endfor -%}
{%- endmacro -%}
{%- macro written(argument, escape_keys=True) -%}
{%- if argument is string -%}{{- '<escape>' + argument + '<escape>' -}}
{%- elif argument is boolean -%}{%- if argument -%}{{- 'true' -}}{%- else -%}{{- 'false' -}}{%- endif -%}
{%- elif argument is mapping -%}
{{- '{' -}}
{%- set ns = namespace(found=false) -%}
{%- for key, value in argument | dictsort -%}
{%- if ns.found %},{% endif -%}{%- set ns.found = true -%}
{%- if escape_keys -%}{{- '<escape>' + key + '<escape>' -}}{%- else -%}{{- key -}}{%- endif -%}
:{{- written(value, escape_keys=escape_keys) -}}
{%- endfor -%}
{{- '}' -}}
{%- elif argument is sequence -%}
{{- '[' -}}{%- for item in argument -%}{{- written(item, escape_keys=escape_keys) -}}{%- if not loop.last %},{% endif -%}{%- endfor -%}{{- ']' -}}
{%- else -%}{{- argument -}}
{%- endif -%}
{%- endmacro -%}
{{ bos_token }}
{%- if tools or messages[0]['role'] in ['system', 'developer'] -%}
{{- '<start_of_turn>developer\\n' -}}
{%- if messages[0]['role'] in ['system', 'developer'] -%}{{- messages[0]['content'] | trim -}}{%- set messages = messages[1:] -%}
{%- else -%}{{- 'You are a model that can do function calling with the following functions' -}}{%- endif -%}
{%- for tool in tools -%}
{{- '<start_function_declaration>declaration:' + tool['function']['name'] + '{description:<escape>' + tool['function']['description'] + '<escape>' -}}
{%- set params = tool['function']['parameters'] -%}
{%- if params -%}
{{- ',parameters:{' -}}
{%- if params['properties'] -%}properties:{ {{- declared(params['properties'], params['required']) -}} },{%- endif -%}
{%- if params['required'] -%}required:[{%- for item in params['required'] -%}<escape>{{- item -}}<escape>{{- ',' if not loop.last -}}{%- endfor -%}],{%- endif -%}
{%- if params['type'] -%}type:<escape>{{- params['type'] | upper -}}<escape>}{%- endif -%}
{%- endif -%}
{{- '}<end_function_declaration>' -}}
{%- endfor -%}
{{- '<end_of_turn>\\n' -}}
{%- endif -%}
{%- set ns = namespace(before='', name='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'assistant' -%}{%- set role = 'model' -%}{%- else -%}{%- set role = m['role'] -%}{%- endif -%}
{%- if role != 'tool' -%}
{%- if ns.before != 'tool' -%}{{- '<start_of_turn>' + role + '\\n' -}}{%- endif -%}
{%- if m['content'] is string -%}{{ m['content'] | trim }}{%- endif -%}
{%- for call in m['tool_calls'] or [] -%}
{%- set ns.name = call['function']['name'] -%}
{{- '<start_function_call>call:' + call['function']['name'] + written(call['function']['arguments'], escape_keys=False) + '<end_function_call>' -}}
{%- endfor -%}
{%- if m['tool_calls'] -%}{%- if loop.last -%}{{ '<start_function_response>' }}{%- endif -%}
{%- else -%}{{- '<end_of_turn>\\n' -}}{%- endif -%}
{%- else -%}
{{- '<start_function_response>response:' + (m['name'] or ns.name) + '{value:' + written(m['content'], escape_keys=False) + '}<end_function_response>' -}}
{%- endif -%}
{%- set ns.before = role -%}
{%- endfor -%}
{%- if add_generation_prompt and ns.before != 'tool' -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}`;

const lfm2 = `{{- bos_token -}}
{%- set ns = namespace(system="") -%}
{%- if messages[0]["role"] == "system" -%}{%- set ns.system = messages[0]["content"] -%}{%- set messages = messages[1:] -%}{%- endif -%}
{%- if tools -%}
{%- set ns.system = ns.system + ("\\n" if ns.system else "") + "List of tools: <|tool_list_start|>[" -%}
{%- for tool in tools -%}
{%- if tool is not string -%}{%- set tool = tool | tojson -%}{%- endif -%}
{%- set ns.system = ns.system + tool -%}
{%- if not loop.last -%}{%- set ns.system = ns.system + ", " -%}{%- endif -%}
{%- endfor -%}
{%- set ns.system = ns.system + "]<|tool_list_end|>" -%}
{%- endif -%}
{%- if ns.system -%}{{- "<|im_start|>system\\n" + ns.system + "<|im_end|>\\n" -}}{%- endif -%}
{%- for m in messages -%}
{{- "<|im_start|>" + m["role"] + "\\n" -}}
{%- set content = m["content"] -%}
{%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
{%- if m["role"] == "tool" -%}{%- set content = "<|tool_response_start|>" + content + "<|tool_response_end|>" -%}{%- endif -%}
{{- content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}`;

const lfm25 = `{{- bos_token -}}
{%- macro value_of(value) -%}
{%- if value is string -%}{{- "'" + value + "'" -}}{%- elif value is mapping -%}{{- value | tojson -}}{%- else -%}{{- value | string -}}{%- endif -%}
{%- endmacro -%}
{%- if messages[0]["role"] == "system" -%}{%- set system = messages[0]["content"] -%}{%- set messages = messages[1:] -%}{%- else -%}{%- set system = "" -%}{%- endif -%}
{%- if tools -%}{%- set system = system + ("\\n" if system else "") + "List of tools: " + (tools | tojson) -%}{%- endif -%}
{%- if system -%}{{- "<|im_start|>system\\n" + system + "<|im_end|>\\n" -}}{%- endif -%}
{%- for m in messages -%}
{{- "<|im_start|>" + m.role + "\\n" + m.content -}}
{%- if m.tool_calls is defined -%}
{%- set ns = namespace(calls=[]) -%}
{%- for call in m.tool_calls -%}
{%- set given = namespace(list=[]) -%}
{%- for name, value in call["function"]["arguments"].items() -%}{%- set given.list = given.list + [name + "=" + value_of(value)] -%}{%- endfor -%}
{%- set ns.calls = ns.calls + [call["function"]["name"] + "(" + (given.list | join(", ")) + ")"] -%}
{%- endfor -%}
{{- "<|tool_call_start|>[" + (ns.calls | join(", ")) + "]<|tool_call_end|>" -}}
{%- endif -%}
{{- "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}`;

const phi4 = `{%- for m in messages -%}
{%- if m['role'] == 'system' and 'tools' in m and m['tools'] is not none -%}
{{- '<|' + m['role'] + '|>' + m['content'] + '<|tool|>' + m['tools'] + '<|/tool|>' + '<|end|>' -}}
{%- else -%}{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- else -%}{{- eos_token -}}{%- endif -%}`;

const phi4Calls = `{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- elif tools -%}{%- set system = '' -%}{%- endif -%}
{%- if system is defined -%}
{{- '<|system|>' + system -}}
{%- for tool in tools or [] -%}{{- '<|tool|>' + (tool['function'] | tojson) + '<|/tool|>' -}}{%- endfor -%}
{{- '<|end|>' -}}
{%- endif -%}
{%- for m in messages -%}
{%- if m['role'] == 'tool' -%}{{- '<|tool_response|>' + (m['content'] | tojson) + '<|end|>' -}}
{%- elif m['role'] != 'system' -%}
{{- '<|' + m['role'] + '|>' + (m['content'] or '') -}}
{%- for call in m.tool_calls or [] -%}{{- '<|tool_call|>' + (call['function'] | tojson) + '<|/tool_call|>' -}}{%- endfor -%}
{{- '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- else -%}{{- eos_token -}}{%- endif -%}`;

const granite3 = `{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set rest = messages[1:] %}
{%- else %}
{%- set rest = messages %}{%- set system = "You are a helpful assistant." %}
{%- if tools %}{%- set system = system + " When a tool is required, respond only with <|tool_call|> followed by a JSON list of tools used." %}{%- endif %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\\n' }}
{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' + (tools | tojson(indent=4)) + '<|end_of_text|>\\n' }}{%- endif %}
{%- for m in rest %}
{{- '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\\n' }}
{%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}
{%- endfor %}`;

/** Calls with their arguments as text, and no content beside them; no tools. */
const deepSeekR1 = `{%- set ns = namespace(first=true, tool=false, output=true, system='') -%}
{%- for m in messages -%}{%- if m['role'] == 'system' -%}{%- set ns.system = m['content'] -%}{%- endif -%}{%- endfor -%}
{{- bos_token + ns.system -}}
{%- for m in messages -%}
{%- if m['role'] == 'user' -%}{%- set ns.tool = false -%}{{- '<｜User｜>' + m['content'] -}}{%- endif -%}
{%- if m['role'] == 'assistant' and m['tool_calls'] -%}
{%- set ns.tool = false -%}
{%- for call in m['tool_calls'] -%}
{{- '<｜Assistant｜><｜tool▁calls▁begin｜>' if loop.first else '\\n' -}}
{{- '<｜tool▁call▁begin｜>' + call['type'] + '<｜tool▁sep｜>' + call['function']['name'] + '\\n\`\`\`json\\n' + call['function']['arguments'] + '\\n\`\`\`<｜tool▁call▁end｜>' -}}
{%- endfor -%}
{{- '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' -}}
{%- endif -%}
{%- if m['role'] == 'assistant' and m['content'] is not none -%}
{%- if ns.tool -%}{{- '<｜tool▁outputs▁end｜>' + m['content'] + '<｜end▁of▁sentence｜>' -}}{%- set ns.tool = false -%}
{%- else -%}{{- '<｜Assistant｜>' + m['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' -}}{%- endif -%}
{%- endif -%}
{%- if m['role'] == 'tool' -%}
{%- set ns.tool = true -%}
{{- ('<｜tool▁outputs▁begin｜>' if ns.output else '\\n') + '<｜tool▁output▁begin｜>' + m['content'] + '<｜tool▁output▁end｜>' -}}
{%- set ns.output = false -%}
{%- endif -%}
{%- endfor -%}
{%- if ns.tool -%}{{- '<｜tool▁outputs▁end｜>' -}}{%- endif -%}
{%- if add_generation_prompt and not ns.tool -%}{{- '<｜Assistant｜><think>\\n' -}}{%- endif -%}`;

const deepSeekV31 = `{%- set ns = namespace(asked=false, system='') -%}
{%- for m in messages -%}{%- if m['role'] == 'system' -%}{%- set ns.system = m['content'] -%}{%- endif -%}{%- endfor -%}
{{- bos_token + ns.system -}}
{%- for m in messages -%}
{%- if m['role'] == 'user' -%}{%- set ns.asked = true -%}{{- '<｜User｜>' + m['content'] -}}{%- endif -%}
{%- if m['role'] == 'assistant' -%}
{{- '<｜Assistant｜></think>' if ns.asked else '' -}}
{%- set ns.asked = false -%}
{{- (m['content'] or '') -}}
{%- for call in m['tool_calls'] or [] -%}
{{- '<｜tool▁calls▁begin｜>' if loop.first else '' -}}
{{- '<｜tool▁call▁begin｜>' + call['function']['name'] + '<｜tool▁sep｜>' + call['function']['arguments'] + '<｜tool▁call▁end｜>' -}}
{{- '<｜tool▁calls▁end｜>' if loop.last else '' -}}
{%- endfor -%}
{{- '<｜end▁of▁sentence｜>' -}}
{%- endif -%}
{%- if m['role'] == 'tool' -%}{%- set ns.asked = false -%}{{- '<｜tool▁output▁begin｜>' + m['content'] + '<｜tool▁output▁end｜>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and ns.asked -%}{{- '<｜Assistant｜></think>' -}}{%- endif -%}`;

const harmony = `{{- '<|start|>system<|message|>You are ChatGPT.\\n# Valid channels: analysis, commentary, final.<|end|>' -}}
{%- if tools or messages[0]['role'] == 'system' -%}
{{- '<|start|>developer<|message|># Instructions\\n\\n' -}}
{%- if messages[0]['role'] == 'system' -%}{{- messages[0]['content'] + '\\n\\n' -}}{%- endif -%}
{%- if tools -%}{{- '# Tools\\n\\nnamespace functions {\\n\\n' -}}
{%- for tool in tools -%}{{- '// ' + tool.function.description + '\\ntype ' + tool.function.name + ' = (_: ' + (tool.function.parameters | tojson) + ') => any;\\n\\n' -}}{%- endfor -%}
{{- '} // namespace functions' -}}{%- endif -%}
{{- '<|end|>' -}}
{%- endif -%}
{%- set ns = namespace(name='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'user' -%}{{- '<|start|>user<|message|>' + m['content'] + '<|end|>' -}}
{%- elif m['role'] == 'assistant' and 'tool_calls' in m -%}
{%- set call = m.tool_calls[0].function -%}
{%- if m.content -%}{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.content + '<|end|>' -}}{%- endif -%}
{{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' + (call.arguments | tojson) + '<|call|>' -}}
{%- set ns.name = call.name -%}
{%- elif m['role'] == 'assistant' -%}
{{- '<|start|>assistant<|channel|>final<|message|>' + m['content'] + ('<|return|>' if loop.last else '<|end|>') -}}
{%- elif m['role'] == 'tool' -%}
{{- '<|start|>functions.' + ns.name + ' to=assistant<|channel|>commentary<|message|>' + (m.content | tojson) + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}`;

const glm45 = `[gMASK]<sop>
{%- if tools -%}
<|system|>
# Tools

<tools>
{% for tool in tools %}
{{ tool | tojson }}
{% endfor %}
</tools>

For each function call, output:
<tool_call>{function-name}
<arg_key>{arg-key-1}</arg_key>
<arg_value>{arg-value-1}</arg_value>
</tool_call>{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{- '<|user|>\\n' + m.content -}}{{- '/nothink' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- elif m.role == 'system' -%}{{- '<|system|>\\n' + m.content -}}
{%- elif m.role == 'assistant' -%}
{{- '<|assistant|>\\n<think></think>' -}}
{%- if m.content.strip() -%}{{- '\\n' + m.content.strip() -}}{%- endif -%}
{%- for call in m.tool_calls or [] -%}
{{- '\\n<tool_call>' + call.function.name + '\\n' -}}
{%- for k, v in call.function.arguments.items() -%}
{{- '<arg_key>' + k + '</arg_key>\\n<arg_value>' -}}{{- v if v is string else (v | tojson) -}}{{- '</arg_value>\\n' -}}
{%- endfor -%}
{{- '</tool_call>' -}}
{%- endfor -%}
{%- elif m.role == 'tool' -%}
{{- '<|observation|>' if loop.first or messages[loop.index0 - 1].role != 'tool' else '' -}}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{{- '\\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}{%- endif -%}`;

/** How Qwen3-Coder and Qwen3.5 are told to call. */
const functionSyntax =
  '<tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>\\nvalue_1\\n</parameter>\\n</function>\\n</tool_call>';

/** Calls as they write them. @param asJson arguments that are no text and yet JSON, not as Python shows them */
const functionCalls = (first: string, asJson: string) => `{%- for call in m.tool_calls %}
{%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
{{- (${first}) + '<tool_call>\\n<function=' + call.name + '>\\n' }}
{%- if call.arguments is defined %}
{%- for key, value in call.arguments|items %}
{{- '<parameter=' + key + '>\\n' }}
{%- set value = value | tojson | safe if ${asJson} else value | string %}
{{- value }}{{- '\\n</parameter>\\n' }}
{%- endfor %}
{%- endif %}
{{- '</function>\\n</tool_call>' }}
{%- endfor %}`;

const qwen3Coder = `{%- macro more(given, known) %}
{%- if given is mapping %}
{%- for key in given if key not in known %}
{%- if given[key] is mapping %}{{- '\\n<' ~ key ~ '>' ~ (given[key] | tojson | safe) ~ '</' ~ key ~ '>' }}
{%- else %}{{- '\\n<' ~ key ~ '>' ~ (given[key] | string) ~ '</' ~ key ~ '>' }}{%- endif %}
{%- endfor %}
{%- endif %}
{%- endmacro %}
{%- if messages[0]["role"] == "system" %}{%- set system = messages[0]["content"] %}{%- set rest = messages[1:] %}
{%- else %}{%- set rest = messages %}{%- endif %}
{%- if system is defined %}{{- '<|im_start|>system\\n' + system }}
{%- elif tools is iterable and tools | length > 0 %}{{- '<|im_start|>system\\nYou are Qwen, a helpful AI assistant that can interact with a computer to solve tasks.' }}
{%- endif %}
{%- if tools is iterable and tools | length > 0 %}
{{- '\\n\\n# Tools\\n\\nYou have access to the following functions:\\n\\n<tools>' }}
{%- for tool in tools %}
{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
{{- '\\n<function>\\n<name>' ~ tool.name ~ '</name>' }}
{%- if tool.description is defined %}{{- '\\n<description>' ~ (tool.description | trim) ~ '</description>' }}{%- endif %}
{{- '\\n<parameters>' }}
{%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
{%- for name, fields in tool.parameters.properties|items %}
{{- '\\n<parameter>\\n<name>' ~ name ~ '</name>' }}
{%- if fields.type is defined %}{{- '\\n<type>' ~ (fields.type | string) ~ '</type>' }}{%- endif %}
{%- if fields.description is defined %}{{- '\\n<description>' ~ (fields.description | trim) ~ '</description>' }}{%- endif %}
{{- more(fields, ['name', 'type', 'description']) }}{{- '\\n</parameter>' }}
{%- endfor %}
{%- endif %}
{{- more(tool.parameters, ['type', 'properties']) }}{{- '\\n</parameters>' }}
{{- more(tool, ['type', 'name', 'description', 'parameters']) }}{{- '\\n</function>' }}
{%- endfor %}
{{- '\\n</tools>\\n\\nIf you choose to call a function ONLY reply in the following format with NO suffix:\\n\\n${functionSyntax}' }}
{%- endif %}
{%- if system is defined or (tools is iterable and tools | length > 0) %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for m in rest %}
{%- if m.role == 'assistant' and m.tool_calls is defined and m.tool_calls is iterable and m.tool_calls | length > 0 %}
{{- '<|im_start|>' + m.role }}
{%- if m.content is defined and m.content is string and m.content | trim | length > 0 %}{{- '\\n' + m.content | trim + '\\n' }}{%- endif %}
${functionCalls("'\\n'", 'value is mapping')}
{{- '<|im_end|>\\n' }}
{%- elif m.role in ['user', 'system', 'assistant'] %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user\\n' }}{%- endif %}
{{- '<tool_response>\\n' + m.content + '\\n</tool_response>\\n' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

/** @param opening of a thought behind the prompt; the small models think only if they are asked to */
const qwen35 = (opening: string) => `{%- if not messages %}{{- raise_exception('No messages provided.') }}{%- endif %}
{%- if tools and tools is iterable and tools is not mapping %}
{{- '<|im_start|>system\\n# Tools\\n\\nYou have access to the following functions:\\n\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nIf you choose to call a function ONLY reply in the following format with NO suffix:\\n\\n${functionSyntax}' }}
{%- if messages[0].role == 'system' %}{%- set content = messages[0].content | trim %}{%- if content %}{{- '\\n\\n' + content }}{%- endif %}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content | trim + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(open=true, last=messages|length - 1) %}
{%- for m in messages[::-1] %}
{%- set index = (messages|length - 1) - loop.index0 %}
{%- if ns.open and m.role == 'user' %}
{%- set content = m.content | trim %}
{%- if not (content.startswith('<tool_response>') and content.endswith('</tool_response>')) %}{%- set ns.open = false %}{%- set ns.last = index %}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if ns.open %}{{- raise_exception('No user query found in messages.') }}{%- endif %}
{%- for m in messages %}
{%- set content = m.content | trim %}
{%- if m.role == 'system' %}
{%- if not loop.first %}{{- raise_exception('System message must be at the beginning.') }}{%- endif %}
{%- elif m.role == 'user' %}{{- '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{%- set thought = '' %}
{%- if m.reasoning_content is string %}{%- set thought = m.reasoning_content %}
{%- elif '</think>' in content %}
{%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- set thought = thought | trim %}
{%- if loop.index0 > ns.last %}{{- '<|im_start|>assistant\\n<think>\\n' + thought + '\\n</think>\\n\\n' + content }}
{%- else %}{{- '<|im_start|>assistant\\n' + content }}
{%- endif %}
{%- if m.tool_calls and m.tool_calls is iterable and m.tool_calls is not mapping %}
${functionCalls("('\\n\\n' if content | trim else '') if loop.first else '\\n'", 'value is mapping or (value is sequence and value is not string)')}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- else %}{{- raise_exception('Unexpected message role.') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}${opening}{%- endif %}`;

/** Those that think unless they are told not to. */
const thinks = `{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- else %}{{- '<think>\\n' }}{%- endif %}`;
const thinksIfAsked = `{%- if enable_thinking is defined and enable_thinking is true %}{{- '<think>\\n' }}{%- else %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}`;

export const toolFamilies: Record<string, ToolFamily> = {
  'Hermes 2': { form: 'hermes', writes: 'calls', source: hermes2 },
  'Qwen 2.5': { form: 'hermes', writes: 'calls', source: qwen25 },
  'Qwen 3': { form: 'hermes', writes: 'calls', source: qwen3 },
  'Qwen3-Coder': { form: 'qwen3Coder', writes: 'calls', source: qwen3Coder },
  'Qwen 3.5': { form: 'qwen3Coder', writes: 'calls', source: qwen35(thinks) },
  'Qwen 3.5, small': { form: 'qwen3Coder', writes: 'calls', source: qwen35(thinksIfAsked) },
  'Llama 3': { form: 'llama3', writes: 'calls', source: llama3 },
  'Mistral v3': { form: 'mistral', writes: 'calls', source: mistralLists(' ') },
  'Mistral v7': { form: 'mistral', writes: 'calls', source: mistralLists('') },
  'Mistral v11': { form: 'mistral', writes: 'calls', source: mistral11 },
  FunctionGemma: { form: 'functionGemma', writes: 'calls', source: functionGemma },
  'Phi-4-mini': { form: 'phi4', writes: 'tools', source: phi4 },
  'Phi-4-mini with calls': { form: 'phi4', writes: 'calls', source: phi4Calls },
  'Granite 3': { form: 'granite', writes: 'tools', source: granite3 },
  'DeepSeek R1 distills': { form: 'deepSeek', writes: 'calls', source: deepSeekR1 },
  'DeepSeek V3.1': { form: 'deepSeek31', writes: 'calls', source: deepSeekV31 },
  'GLM-4.5': { form: 'glm45', writes: 'calls', source: glm45 },
  'gpt-oss': { form: 'harmony', writes: 'calls', source: harmony },
  LFM2: { form: 'lfm2', writes: 'tools', source: lfm2 },
  'LFM2.5': { form: 'lfm2', writes: 'calls', source: lfm25 },
};
