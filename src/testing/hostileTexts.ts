import { findInText } from '../examples/personal/findPersonal.js';

/** Run by a test in a process of its own: texts that make careless patterns go back over what they read again and again. */

const SIZE = 1_000_000;
const patterns = [
  ...['a', 'A', '1', '@', '.', '-', ' ', '\n', '+', '(', ':', '/', '=', '"', 'é', '字', '۱'],
  ...[
    'a@',
    'a.',
    '@a.',
    '1 ',
    '1-',
    '1.',
    '(1',
    '+1 ',
    '12 ',
    '1234 ',
    '12345678901 ',
    'A1',
    'Aa',
    'Aa ',
    'A. ',
    'aA1',
  ],
  ...[
    '://',
    'a://a:',
    'x://x@',
    '://a?token=',
    'Dr. ',
    'Dr. A ',
    'Mr Aa',
    'Aa-',
    "A'a",
    'my friend ',
    'Dear ',
    'Dear Aa ',
    'Anna ',
  ],
  ...[
    'password ',
    'password: ',
    'password is ',
    'password for a',
    'pin 1',
    'pin: ',
    'account number A',
    'passport number: A1 ',
  ],
  ...[
    'born on ',
    'born 1',
    '1 Januar',
    '12/12/',
    'Hauptstraße ',
    'Aa Aa Aastraße 1 ',
    'Calle a ',
    'via a a a a ',
    '1 Aa Aa Aa ',
    '1 rue ',
    'P.O. Box ',
    '〒100-0001 ',
  ],
  ...[
    '-----BEGIN ',
    '-----BEGIN RSA PRIVATE KEY-----',
    'eyJ',
    'eyJaaaaaaaa.',
    'sk-',
    'sk-a',
    'AKIA',
    'WIFI:',
    ':AA',
    'ghp_',
    'pypi-a',
  ],
  ...[
    'DE89 ',
    'GB29A',
    'aa00',
    '4111 1111 1111 ',
    '1:',
    'a:',
    '::',
    '00:',
    '255.',
    '1.1.1.',
    '东路1',
    'AB 12 34 ',
    '12345678',
    'A1 1AA ',
  ],
];
/** Patterns to a text: a quarter of a megabyte of each is as hard as a whole one where time is not linear. */
const TOGETHER = 4;
for (let i = 0; i < patterns.length; i += TOGETHER) {
  const some = patterns.slice(i, i + TOGETHER);
  const text = some.map((pattern) => pattern.repeat(Math.ceil(SIZE / TOGETHER / pattern.length))).join('\n');
  findInText(text, some[0]!.repeat(100));
  process.stdout.write(`${JSON.stringify(some)}\n`);
}
