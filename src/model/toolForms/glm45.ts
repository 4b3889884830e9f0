import { pythonJson } from '../pythonJson.js';
import { taggedForm } from './tagged.js';
import { jsonOf } from './textValue.js';

/** GLM-4.5 and later: the name between marks, then names and values of arguments between marks of their own (Z.ai, GLM-4.5 chat template). */
export const glm45 = taggedForm({
  name: 'glm45',
  call: { before: '<tool_call>', after: '\n', read: /<tool_call>\s*([^\s<]+)\s*(?=<)/ },
  argument: {
    before: '<arg_key>',
    after: '</arg_key>\n<arg_value>',
    read: /\s*<arg_key>([^<]{1,1000})<\/arg_key>\s*<arg_value>/y,
  },
  value: { end: '</arg_value>\n', write: pythonJson, read: jsonOf },
  end: { text: '</tool_call>', read: /\s*<\/tool_call>/y },
});
