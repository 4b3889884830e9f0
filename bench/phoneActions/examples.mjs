// Requests and the calls that they ask for: 400 to learn from and 100 that are worded otherwise, with other names, times and places, as
// conversations with tools.
import { Random } from '../../dist/base/random.js';
import { actions } from './actions.mjs';
import { slots } from './slots.mjs';

const SYSTEM = 'You operate a phone. Call the function that the user asks for.';

/** @returns {{ learn: object[], unseen: object[] }} records in OpenAI's form, in random order; the same for a seed */
export function makeExamples({ learn = 400, unseen = 100, seed = 1, tools = actions.map(({ tool }) => tool) } = {}) {
  const taken = new Set();
  return { learn: draw('learn', learn), unseen: draw('unseen', unseen) };

  function draw(part, count) {
    const random = new Random(seed, part === 'learn' ? 1 : 2);
    const records = [];
    for (let i = 0; records.length < count; i++) {
      const action = actions[i % actions.length];
      // Each wording comes up about as often as the others.
      const wording = action[part][Math.floor(i / actions.length) % action[part].length];
      const { request, values } = fill(wording, part, random);
      if (taken.has(request.toLowerCase())) continue;
      taken.add(request.toLowerCase());
      const call = Object.fromEntries(Object.entries(action.call).map(([name, path]) => [name, at(values, path)]));
      records.push(record(request, { name: action.tool.name, arguments: call }));
      if (i > 100 * count) throw new Error(`only ${records.length} different requests`);
    }
    return random.shuffle(records);
  }

  function record(request, call) {
    return {
      tools: tools.map((tool) => ({ type: 'function', function: tool })),
      messages: [
        { role: 'system', content: SYSTEM },
        { role: 'user', content: request },
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ type: 'function', function: { name: call.name, arguments: JSON.stringify(call.arguments) } }],
        },
      ],
    };
  }
}

function fill(wording, part, random) {
  const values = {};
  const request = wording.replace(/\{(\w+)\}/g, (_, name) => {
    const choices = slots[name][part] ?? slots[name].learn;
    const { said, value } = choices[random.below(choices.length)];
    values[name] = value;
    return said;
  });
  return {
    request:
      request[0].toUpperCase() === request[0]
        ? request
        : random.below(2)
          ? request
          : request[0].toUpperCase() + request.slice(1),
    values,
  };
}

const at = (values, path) => path.split('.').reduce((value, key) => value[key], values);
