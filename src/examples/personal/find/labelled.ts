import type { FindingKind, Span } from '../finding.js';

interface Labelled {
  kind: FindingKind;
  label: string;
  /** The words; bounded on both sides. */
  words: string;
  /** What a value looks like, sticky, and what it must have besides. */
  value: RegExp;
  accepts: (value: string, strong: boolean) => boolean;
}

/** What stands for a password in instructions and programs, but is none. */
const NO_SECRET =
  /^(?:missing|empty|blank|needed|mandatory|safe|lost|forgotten|case-sensitive|recommended|important|ready|good|bad|easy|long|short|gone|on|up|set|out|str(?:ing)?|text|int(?:eger)?|bool(?:ean)?|null|none|nil|undefined|true|false|password|passwd|pwd|passwort|secret|token|self|this|input|value|username|user|email|required|optional|varchar|char|hidden|protected|incorrect|correct|wrong|invalid|valid|not|must|should|the|a|an|your|my|be|to|is|are|and|or|in|for|very|too|strong|weak|secure|unique|expired|different|same|stored|hashed|encrypted|reset|changed|sent|known|here|below|above|of|at|that|which|what|please|never|always|ein|eine|nicht|falsch|muss|un|une|una|non|no|si|obligatoire|\*+|x+|\.+|-+|_+|\?+)$/i;

function looksSecret(value: string, strong: boolean): boolean {
  if (
    NO_SECRET.test(value) ||
    /^[<[{$%(]|[()[\]{}<>]|^(?:your|my|the|example|some|new|old)[_-]|^(?:self|this|req|os|process|args?)\./i.test(value)
  )
    return false;
  const mixed = /\d/.test(value) || /[a-z][A-Z]/.test(value) || /\p{L}[-_!@#$%^&*+~§]\p{L}|[!@#$%^&*+~§]/u.test(value);
  return value.length >= 4 && (strong || mixed);
}

const TOKEN = /[^\s"'`«»,;|]{3,128}/y;
const CODE = /\d{3,10}(?!\d|[.,]\d|\s?%)/y;
/** Groups of letters and digits; behind a space only one with a digit goes on with the number. */
const NUMBER = /[A-Z0-9]{1,20}(?:[ ./-](?=[A-Z]{0,4}\d)[A-Z0-9]{1,12}){0,8}(?![\p{L}\p{N}])/iuy;
const enoughDigits = (value: string) => (value.match(/\d/g)?.length ?? 0) >= 4;

const LABELS: readonly Labelled[] = [
  {
    kind: 'password',
    label: 'password',
    words: `(?:wi-?fi |wlan |user |master |login |e-?mail |temporary |default )?(?:pass-?(?:word|wort|phrase|code|wd)|pass(?=s?[:=])|pwd|kennwort|mot de passe|contraseña|senha|wachtwoord|l[öo]senord|has[łl]o|parola d'ordine|adgangskode|salasana|пароль|wi-?fi key|wlan-?schlüssel|network key|security answer|recovery (?:code|key))`,
    value: TOKEN,
    accepts: looksSecret,
  },
  {
    kind: 'password',
    label: 'password',
    words: '密码|密碼|口令|パスワード|비밀번호',
    value: TOKEN,
    accepts: (value) => looksSecret(value, true),
  },
  {
    kind: 'key',
    label: 'key or token',
    words: `(?:api|access|secret|private|client|encryption|signing)[ _-]?(?:key|token|secret)|(?:auth|access|bearer|refresh|session)[ _-]?token|bearer|client[ _-]?secret`,
    value: TOKEN,
    accepts: (value) => value.length >= 16 && /\d/.test(value) && looksSecret(value, false),
  },
  {
    kind: 'password',
    label: 'PIN or code',
    words: `pin(?:[ -]?(?:code|number|nummer))?|puk|cvv2?|cvc2?|(?:door|gate|alarm|access|entry|entrance|security|lock|safe|locker|garage|verification|unlock|key-?box) ?(?:code|combination|combo)|türcode|alarmcode|geheimzahl|code (?:pin|d'accès|d'entrée|de la porte)|código(?: de acceso| pin)?|combination|geheimnummer`,
    value: CODE,
    accepts: (value) => !/^(?:19|20)\d{2}$/.test(value),
  },
  {
    kind: 'account',
    label: 'account number',
    words: String.raw`bank account(?= (?:is|was)|:)|(?:bank |savings |checking |current |giro)?(?:account|acct|a/c)(?: ?(?:number|no|nr|#))\.?|kontonummer|konto-?nr\.?|sort code|routing (?:number|no\.?)|blz|bankleitzahl|numéro de compte|número de cuenta|numero di conto|rekeningnummer|kontonr\.?`,
    value: NUMBER,
    accepts: enoughDigits,
  },
  {
    kind: 'id-number',
    label: 'number of a document or person',
    words: String.raw`(?:passport|driv(?:er|ing)(?:'s)? licen[cs]e|identity card|social security|reisepass|permis de conduire|pasaporte)(?= (?:is|ist|est|es)|\s?:)|(?:passport|driv(?:er|ing)(?:'s)? licen[cs]e|licen[cs]e|identity card|id card|national id|tax(?:payer)?|social security|insurance|policy|health(?: card)?|medical record|patient|membership|member|customer|client|employee|student|personnel|staff|case|booking|loyalty card|visa|green card)(?: (?:id|identification))? ?(?:number|no|nr|#|id)\.?|ssn|nhs (?:number|no\.?)|nino|mrn|(?:reise)?pass(?:nummer|-nr\.?)|ausweis(?:nummer|-nr\.?)|führerschein(?:nummer|-nr\.?)|versicher(?:ten|ungs)(?:nummer|-nr\.?)|sozialversicherungsnummer|steuer-?(?:id|nummer|nr\.?)|kunden(?:nummer|-nr\.?)|personal(?:nummer|ausweisnummer)|matrikelnummer|numéro de (?:passeport|sécurité sociale|permis|client)|número de (?:pasaporte|cliente|afiliado|la seguridad social)|numero di (?:passaporto|patente|tessera)|bsn|burgerservicenummer|cpf|pesel|aadhaar(?: number)?|pan(?: card)? number|tfn|abn`,
    value: NUMBER,
    accepts: enoughDigits,
  },
];
/** " for the Wi-Fi", then what joins a label to its value. `:`, `=` and quotes are strong: a value must follow. */
const ABOUT =
  /\s(?:for|to|of|at|on|für|zu|zum|zur|vom|de|du|di|del|para|do|da|pour|pro)\s[^\n:=?!.]{1,40}?(?=\s(?:is|was|ist|lautet|est|es|é|è)\s|\s?[:=])/iuy;
const JOIN =
  /["'`]?\s{0,3}(?:(:|=>?|->|：)|\s(?:is|was|ist|lautet|war|est|es|é|è|är|to|remains|reads)(?!\p{L})(?:\s(?:now|still|jetzt|currently|just|set to))?(?:\s?:)?|\s(?=[A-Z]{0,8}-?\d)|\s?(?:は|是|为|為|이|가|은|는)\s?)\s{0,3}/iuy;
const SPACE = / /y;
const QUOTED = /(["'`])([^\n"'`]{3,80})\1/y;

interface Compiled extends Labelled {
  find: RegExp;
  asks: RegExp;
}
const edge = (words: string) => new RegExp(String.raw`(?<![\p{L}\p{N}_])(?:${words})(?![\p{L}\p{N}])`, 'giu');
const compiled: readonly Compiled[] = LABELS.map((entry) => {
  const words = /^[密]/.test(entry.words)
    ? entry.words
    : String.raw`(?<![\p{L}\p{N}])(?:${entry.words})(?![\p{L}\p{N}])`;
  return { ...entry, find: new RegExp(words, 'giu'), asks: edge(entry.words) };
});

function valueAt(
  text: string,
  at: number,
  entry: Labelled,
  strong: boolean,
): { start: number; end: number } | undefined {
  QUOTED.lastIndex = at;
  const quoted = QUOTED.exec(text);
  if (quoted !== null) {
    const value = quoted[2]!;
    const fits =
      entry.value === TOKEN ? entry.accepts(value, true) : fullMatch(entry.value, value) && entry.accepts(value, true);
    return fits ? { start: at + 1, end: at + 1 + value.length } : undefined;
  }
  entry.value.lastIndex = at;
  const match = entry.value.exec(text);
  if (match === null) return undefined;
  let value = match[0];
  if (entry.value === TOKEN) {
    // A sentence ends after it; a password may end in !, which then goes too.
    value = value.replace(/[.:?)\]}>]+$/, '').replace(/[!]$/, (mark) => (/[\d!]!$/.test(match[0]) ? mark : ''));
    // "Password: must be ..." goes on in words, a value does not.
    const alone = /^(?:[.,;!)\]}"']|\s*$|\s*\n|\s+(?:\p{Lu}|\d|and\b|und\b|et\b|y\b|e\b|-|\())/u.test(
      text.slice(at + value.length, at + value.length + 20),
    );
    strong = strong && alone;
  }
  return entry.accepts(value, strong) ? { start: at, end: at + value.length } : undefined;
}

function fullMatch(shape: RegExp, value: string): boolean {
  shape.lastIndex = 0;
  return shape.exec(value)?.[0] === value;
}

/** Values that a word before them says to be secret: passwords, codes, account and document numbers. */
export function findLabelled(text: string, question?: string): Span[] {
  const spans: Span[] = [];
  for (const entry of compiled) {
    const { kind, label } = entry;
    for (const match of text.matchAll(entry.find)) {
      let at = match.index + match[0].length;
      ABOUT.lastIndex = at;
      if (ABOUT.test(text)) at = ABOUT.lastIndex;
      JOIN.lastIndex = at;
      SPACE.lastIndex = at;
      const bare = SPACE.exec(text);
      const join = JOIN.exec(text) ?? (entry.value === TOKEN ? bare : null);
      if (join === null) continue;
      // "password Blau-Wal-77": nothing but the value itself says that it is one.
      const weak = join === bare && !/bearer$/i.test(match[0]);
      if (weak && !/^\S*(?:\d\S*[\p{L}]|[\p{L}]\S*\d)\S*/u.test(text.slice(bare.index + 1, bare.index + 64))) continue;
      // "My password is cheese." - "The password is required."
      const owned = /\b(?:my|our|mein|unser|mon|notre|mi) (?:[\w-]{1,20} )?$/iu.test(
        text.slice(Math.max(0, match.index - 30), match.index),
      );
      const value = valueAt(text, join.index + join[0].length, entry, join[1] !== undefined || owned);
      if (value !== undefined) spans.push({ kind, label, certainty: 'likely', ...value });
    }
    if (question !== undefined && spans.every((span) => span.kind !== kind)) findAnswer(text, question, entry, spans);
  }
  return spans;
}

/** "What is the alarm code?" - "4711, then the green button." The first number of a short answer. */
function findAnswer(text: string, question: string, entry: Compiled, spans: Span[]): void {
  if (text.length > 400) return;
  entry.asks.lastIndex = 0;
  // "Generate a password" asks for none that exists.
  if (
    !/\?|^(?:what|tell|give me|say|was|wie|quel|cu[aá]l|qual)/iu.test(question) ||
    !entry.asks.test(question.slice(0, 2000))
  )
    return;
  if (/\b(?:generate|create|suggest|random|example|write|generier|erstell|crea|génèr)/i.test(question)) return;
  const token = /[^\s"'`«»,;|]{3,64}/g;
  for (const match of text.matchAll(token)) {
    if (!/\d/.test(match[0])) continue;
    const found = valueAt(text, match.index, entry, false);
    if (found === undefined) continue;
    spans.push({ kind: entry.kind, label: entry.label, certainty: 'likely', ...found });
    return;
  }
}
