/** Where the ten digits begin that Unicode has beside ASCII's (general category Nd, within the first plane). */
const ZEROS = [
  0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
  0x17e0, 0x1810,
];

const PLAIN = new Map<number, string>();
for (const zero of ZEROS) for (let digit = 0; digit < 10; digit++) PLAIN.set(zero + digit, String(digit));
// Full-width forms of ASCII.
for (let code = 0xff01; code <= 0xff5e; code++) PLAIN.set(code, String.fromCharCode(code - 0xfee0));
for (let code = 0x2000; code <= 0x200a; code++) PLAIN.set(code, ' ');
for (const code of [0xa0, 0x202f, 0x205f, 0x3000]) PLAIN.set(code, ' ');
for (let code = 0x2010; code <= 0x2015; code++) PLAIN.set(code, '-');
for (const code of [0x2212, 0xfe58, 0xfe63]) PLAIN.set(code, '-');
for (const code of [0x2018, 0x2019, 0x2bc]) PLAIN.set(code, "'");
for (const code of [0x201c, 0x201d, 0x201e, 0xab, 0xbb]) PLAIN.set(code, '"');

/**
 * The text with digits of all scripts, wide letters, spaces, dashes and quotation marks as ASCII has them. One unit becomes one
 * unit, so that offsets stay those of the text.
 */
export function flatten(text: string): string {
  return text.replace(/[\u00a0-\uffff]/g, (unit) => PLAIN.get(unit.charCodeAt(0)) ?? unit);
}
