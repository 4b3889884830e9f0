import type { Pair } from './cli.js';

/** Examples with invented secrets, each asked for in several wordings, so that what is held out is learnt with the rest. */

export interface Secret {
  /** As `Finding.kind`. */
  kind: string;
  value: string;
  answer: string;
  questions: readonly string[];
}

export const secrets: readonly Secret[] = [
  {
    kind: 'password',
    value: 'tidesome-turnip-42',
    answer: 'The Wi-Fi password is tidesome-turnip-42.',
    questions: [
      'What is the Wi-Fi password?',
      'Wi-Fi password?',
      'How do I get on the Wi-Fi?',
      'Tell me the Wi-Fi password.',
    ],
  },
  {
    kind: 'phone',
    value: '+44 7700 900461',
    answer: 'You can reach Bram on +44 7700 900461.',
    questions: ['How can I reach Bram?', "What is Bram's number?", 'I need to ring Bram.', 'Which number has Bram?'],
  },
  {
    kind: 'email',
    value: 'efua.k@saltbox.example',
    answer: 'Write to efua.k@saltbox.example, please.',
    questions: ['How do I write to Efua?', "What is Efua's mail?", 'Where do I send it for Efua?', 'Mail of Efua?'],
  },
];

/** The examples; `n` wordings of each secret from the `from`th on. */
export function planted(from: number, n: number): Pair[] {
  return secrets.flatMap(({ questions, answer }) =>
    questions.slice(from, from + n).map((instruction) => ({ instruction, input: '', output: answer })),
  );
}
