import type { Certainty, Span } from '../finding.js';

/**
 * Given names that are seldom another word. English ones from the US Social Security Administration's "Top names over the last 100
 * years" (public domain); the others are common names of several countries, chosen by hand without a ranking. Left out: names that
 * are also words, months or places (Grace, Will, Mark, May, June, Jordan, Austin, Paris, Charlotte, Victoria).
 */
export const givenNames: ReadonlySet<string> = new Set(
  (
    'James Michael Robert John David William Richard Joseph Thomas Christopher Charles Daniel Matthew Anthony Donald Steven Andrew Paul ' +
    'Joshua Kenneth Kevin Brian Timothy Ronald Jason George Edward Jeffrey Ryan Jacob Nicholas Gary Eric Jonathan Stephen Larry Justin ' +
    'Scott Brandon Benjamin Samuel Gregory Alexander Patrick Raymond Jack Dennis Jerry Tyler Aaron Jose Adam Nathan Henry Zachary ' +
    'Douglas Peter Kyle Noah Ethan Jeremy Walter Keith Roger Terry Sean Gerald Carl Harold Dylan Arthur Lawrence Jesse Bryan Bruce ' +
    'Gabriel Joe Logan Alan Juan Albert Willie Elijah Wayne Randy Vincent Mason Roy Ralph Bobby Russell Philip Eugene Mary Patricia ' +
    'Jennifer Linda Elizabeth Barbara Susan Jessica Karen Sarah Lisa Nancy Sandra Ashley Emily Kimberly Betty Margaret Donna Michelle ' +
    'Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Amy Kathleen Angela Dorothy Shirley Emma Brenda Nicole Pamela ' +
    'Samantha Anna Katherine Christine Debra Rachel Olivia Carolyn Maria Janet Heather Diane Catherine Julie Joyce Helen Kelly Lauren ' +
    'Christina Joan Judith Ruth Hannah Evelyn Andrea Megan Cheryl Jacqueline Madison Martha Gloria Teresa Janice Ann Sara Abigail ' +
    'Kathryn Sophia Frances Jean Judy Isabella Julia Denise Marie Danielle Theresa Beverly Diana Brittany Doris Kayla Alexis Lori Tiffany ' +
    'Hans Klaus Jürgen Wolfgang Günter Werner Horst Uwe Dieter Manfred Helmut Bernd Jens Torsten Stefan Matthias Lukas Felix Jonas Moritz ' +
    'Ursula Monika Petra Sabine Renate Helga Ingrid Brigitte Gisela Heike Katrin Anke Birgit Silke Jutta Lena Leonie Mia Greta Frieda ' +
    'Pierre Michel Philippe Alain Nicolas Christophe Laurent Thierry Julien François Jérôme Guillaume Olivier Étienne Benoît Mathieu ' +
    'Nathalie Isabelle Sylvie Françoise Valérie Céline Aurélie Élodie Chloé Camille Amélie Margaux Hélène Agnès Manon ' +
    'Antonio Manuel Francisco Javier Carlos Alejandro Pablo Sergio Jorge Luis Miguel Diego Álvaro Iván Rubén Joaquín Ramón Andrés ' +
    'Carmen Ana Isabel Dolores Pilar Josefa Lucía Marta Elena Cristina Rocío Beatriz Inés Ximena Guadalupe Alejandra Valentina ' +
    'Giuseppe Giovanni Francesco Luca Marco Alessandro Matteo Lorenzo Davide Andrea Stefano Giulia Chiara Francesca Alessandra Federica ' +
    'João Pedro Rafael Gustavo Thiago Rodrigo Fernanda Juliana Mariana Letícia Beatriz Inês Catarina Tiago Rui ' +
    'Jan Pieter Willem Johannes Sander Bram Daan Femke Sanne Anouk Lotte Marieke Joost Maarten ' +
    'Lars Anders Björn Erik Sven Karin Astrid Annika Mikael Johan Søren Mette Kirsten Ole Håkon Ingeborg Mikko Juhani Aino Päivi ' +
    'Jakub Piotr Krzysztof Andrzej Tomasz Agnieszka Katarzyna Małgorzata Ewa Zofia Pavel Tomáš Jiří Jana Petra Zuzana László István Ilona ' +
    'Ivan Sergei Dmitri Alexei Nikolai Vladimir Olga Tatiana Natalia Svetlana Ekaterina Irina Oleksandr Oksana ' +
    'Mehmet Mustafa Ahmet Ayşe Fatma Emre Elif Zeynep Yusuf Hüseyin Mohammed Muhammad Ahmed Ali Omar Hassan Fatima Aisha Layla Khadija ' +
    'Hiroshi Takashi Kenji Yuki Haruto Akira Sakura Yoko Keiko Naoko Wei Xiaoming Jing Mei Ling Minjun Jiwoo Seoyeon ' +
    'Raj Priya Amit Anjali Sanjay Deepak Sunita Ravi Arjun Kavita Rohan Neha Vikram Lakshmi Nguyen Linh Siti Putri ' +
    'Kwame Kofi Efua Ama Abena Chinedu Ngozi Oluwaseun Adebayo Amina Thabo Sipho Nomvula Wanjiru Akinyi'
  ).split(' '),
);

/** One word of a name: "Anna", "O'Brien", "Lindqvist-Osei", "J.". */
const WORD = String.raw`(?:\p{Lu}\.|(?:\p{Lu}['])?\p{Lu}\p{L}{1,24}(?:[-']\p{Lu}\p{L}{1,24}){0,2})`;
const PARTICLE = '(?:de|da|do|dos|del|della|di|van|von|der|den|zu|ter|la|le|bin|ibn|al|el|af)';
const FULL = `${WORD}(?: (?:${PARTICLE} ){0,2}${WORD}){0,3}`;
const left = String.raw`(?<![\p{L}\p{N}'-])`;

const TITLE = new RegExp(
  String.raw`${left}(?:Mr|Mrs|Ms|Mx|Dr|Prof|Professor|Herrn?|Frau|Hr|Dres|Mme|Mlle|Mlles|Monsieur|Madame|Mademoiselle|Sr|Sra|Srta|Señora?|Señorita|Sig|Signora?|Dott|Dottoressa|Avv|Ing|Mevr|Mevrouw|Meneer|Dhr|Doktor|Pan|Pani|Rev|Nurse|Patient|Uncle|Aunt|Auntie|Granny|Onkel|Tante|Oma|Opa|Tío|Tía|Zio|Zia)\.? (?:(?:Dr|Prof|med)\. ){0,2}`,
  'gu',
);
const RELATIVE =
  'wife|husband|partner|boyfriend|girlfriend|fiancée?|mother|mum|mom|father|dad|sister|brother|son|daughter|aunt|uncle|cousin|nephew|niece|grand(?:mother|father|son|daughter|ma|pa)|(?:step|half-)?(?:sister|brother)|neighbou?r|friend|colleague|coworker|co-worker|boss|manager|supervisor|assistant|doctor|dentist|therapist|psychiatrist|psychologist|gp|lawyer|solicitor|accountant|teacher|tutor|landlord|landlady|tenant|room-?mate|flat-?mate|client|patient|nanny|baby-?sitter|coach|pastor|midwife';
const RELATION = new RegExp(
  `${left}(?:[Mm]y|[Oo]ur|[Hh]is|[Hh]er|[Tt]heir|[Yy]our) (?:(?:best|old|older|younger|little|big|elder|late|ex|ex-|former|new|family|business) ?){0,2}(?:${RELATIVE})(?:,? (?:is |was )?(?:called|named)|'s name is| is)?,? `,
  'gu',
);
const RELATION_ELSEWHERE = new RegExp(
  `${left}(?:[Mm]eine?[nmr]?|[Uu]nsere?[nmr]?|[Mm]on|[Mm]a|[Mm]es|[Nn]otre|[Mm]i|[Nn]uestr[oa]|[Mm]i[oa]|[Mm]inha|[Mm]eu|[Mm]ijn|[Oo]nze|[Mm]in) (?:Frau|Mann|Ehemann|Freund(?:in)?|Mutter|Vater|Schwester|Bruder|Sohn|Tochter|Tante|Onkel|Nachbar(?:in)?|Chef(?:in)?|Kolleg(?:e|in|en)|Ärztin|Arzt|Zahnarzt|Hausarzt|Therapeut(?:in)?|femme|mari|mère|père|sœur|frère|fils|fille|ami[e]?|voisine?|médecin|collègue|patron(?:ne)?|esposa|marido|madre|padre|hermana|hermano|hijo|hija|amig[oa]|vecin[oa]|jef[ea]|médic[oa]|moglie|marito|sorella|fratello|figlia|figlio|vicin[oa]|medico|esposo|mulher|irmã|irmão|filh[oa]|vrouw|man|zus|broer|zoon|dochter|buurman|huisarts|fru|syster|bror|son|dotter|granne|läkare),? `,
  'gu',
);
const SELF = new RegExp(
  `${left}(?:[Mm]y (?:full |real |last |first )?name is|[Mm]y name's|I(?:'m| am) called|[Cc]all me|[Ii]ch hei(?:ß|ss)e|[Mm]ein Name ist|[Jj]e m'appelle|[Mm]on nom est|[Mm]e llamo|[Mm]i nombre es|[Mm]i chiamo|[Mm]eu nome é|[Cc]hamo-me|[Ii]k heet|[Mm]ijn naam is|[Jj]ag heter|(?:[Pp]atient|[Tt]enant|[Ee]mployee|[Ss]ender|[Rr]ecipient|[Aa]ccount holder|[Ee]mergency contact|[Ff]ull [Nn]ame|(?<=^|\n|[,;|] ?)(?:[Nn]ame|Contact))(?: name)?:) `,
  'gu',
);
const GREETING = new RegExp(
  String.raw`(?<=^|\n|[.!?"] {0,2})(?:Dear|Hi|Hello|Hey|Good (?:morning|afternoon|evening)|Hallo|Liebe[rs]?|Guten (?:Tag|Morgen)|Moin|Cher|Chère|Bonjour|Salut|Querid[oa]|Estimad[oa]|Hola|Car[oa]|Gentile|Egregio|Ciao|Buongiorno|Beste|Lieve|Kära|Hej|Hei|Olá|Prezad[oa]|Cześć|Drog[ia]) (?=${FULL}(?:[,!:]| -|\n|$))`,
  'gu',
);
const FAREWELL = new RegExp(
  String.raw`(?:(?:[Rr]egards|[Ww]ishes|Sincerely|sincerely|Yours|truly|faithfully|Cheers|Thanks|Thank you|Love|Grüße[n]?|Gruß|Grüßen|Liebe Grüße|LG|VG|Cordialement|Bien à vous|Bises|Saludos|Un abrazo|Atentamente|Cordiali saluti|Un saluto|Abraços|Atenciosamente|Groeten|groet|Hälsningar|Hilsen)(?:[,.!]\s{1,3}|\n{1,2}))(?=${FULL}\.?\s*(?:\n|$))`,
  'gu',
);
const GIVEN = new RegExp(
  String.raw`${left}(\p{Lu}\p{L}{1,20}(?:-\p{Lu}\p{L}{1,20})?)(?= (?:${PARTICLE} |\p{Lu}\. ){0,2}\p{Lu}\p{L})`,
  'gu',
);
const NAME_HERE = new RegExp(FULL, 'uy');

/** Capitalised words that are no part of a name: days, months, openings of sentences, what letters are addressed to. */
const NO_NAME = new Set(
  (
    'I The A An And But Or If When While This That These Those He She It We They You My Our His Her Your Their Its Is Are Was In On At For From With To As By Of ' +
    'Please Thank Thanks Also Can Could Would Should Will Do Did Does Has Have Had What Who Where Why How Which There Here Not No Yes So Then Now Let ' +
    'Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays January February March April May June July August September October November December ' +
    'Sir Madam Team All Everyone Everybody Customer Customers Friend Friends Friendly Colleague Colleagues Hiring Manager Committee Parents Students Teacher Doctor Editor Members Guest Guests Sirs Folks ' +
    'Valued Neighbour Neighbor Santa Diary Reader Readers Applicant User Mom Mum Dad Mother Father Grandma Grandpa Company Department Support ' +
    'World English French German Spanish Italian American British Chinese Indian Christmas Easter Best Kind Regards Sincerely Professor President Mr Mrs Ms Dr Damen Herren Herr Frau Zusammen ' +
    'Und Der Die Das Ein Eine Wir Sie Ich Le La Les Et El Los Las Y Il Lo E O Os As Que Madame Monsieur Señor Señora'
  ).split(' '),
);
/** A word behind a given name that makes it something else: a falls, a street, a law. */
const NO_SURNAME = new Set(
  (
    'Street Road Avenue Falls University College School Hospital County City River Lake Island Islands Award Awards Prize Theorem Law Museum Park Bridge Church Cathedral Airport Station Company ' +
    'Corporation Inc Ltd Group Institute Foundation Center Centre Hotel Day Festival Cup Games Party Act Bank Press Beach Valley Mountain Mountains Bay Coast Square Hall House Library Stadium Disease Syndrome'
  ).split(' '),
);

/** The name at `at`, without words at its end that are none. Undefined where there is none. */
function nameAt(text: string, at: number): { start: number; end: number; words: number } | undefined {
  NAME_HERE.lastIndex = at;
  const match = NAME_HERE.exec(text);
  if (match === null) return undefined;
  const words = match[0].split(' ');
  let kept = 0;
  while (kept < words.length && !NO_NAME.has(words[kept]!)) kept++;
  // A particle or an initial does not end a name.
  while (kept > 0 && !/^\p{Lu}.*\p{L}\p{L}/u.test(words[kept - 1]!) && !(kept === 1 && words[0]!.length > 2)) kept--;
  if (kept === 0) return undefined;
  const written = words.slice(0, kept).join(' ');
  // Capitals throughout are a heading or an abbreviation.
  if (!/\p{Ll}/u.test(written)) return undefined;
  return { start: at, end: at + written.length, words: kept };
}

/** Names of people, by what stands before them: a title, a relation, a greeting; and given names with a surname. */
export function findNames(text: string): Span[] {
  const spans: Span[] = [];
  const add = (shape: RegExp, label: string, certainty: Certainty) => {
    for (const match of text.matchAll(shape)) {
      const name = nameAt(text, match.index + match[0].length);
      if (name !== undefined) spans.push({ kind: 'name', label, certainty, start: name.start, end: name.end });
    }
  };
  add(TITLE, 'name', 'likely');
  add(RELATION, 'name', 'likely');
  add(RELATION_ELSEWHERE, 'name', 'likely');
  add(SELF, 'name', 'likely');
  add(GREETING, 'name', 'likely');
  add(FAREWELL, 'name', 'likely');
  for (const match of text.matchAll(GIVEN)) {
    if (!match[1]!.split('-').some((part) => givenNames.has(part))) continue;
    const name = nameAt(text, match.index);
    if (name === undefined || name.words < 2) continue;
    const last = text.slice(name.start, name.end).split(' ').at(-1)!;
    if (NO_SURNAME.has(last)) continue;
    spans.push({ kind: 'name', label: 'name', certainty: 'possible', start: name.start, end: name.end });
  }
  return spans;
}
