import type { FindingKind } from '../examples/personal/finding.js';

/**
 * Texts with what is personal in them marked as `{{kind:value}}`, and texts that look like it and hold nothing. All invented;
 * numbers with check digits are specimens that their issuers or standards publish. A `~` is taken out, so that no line here looks
 * like a key to programs that search repositories for keys.
 */

export interface MarkedText {
  text: string;
  marked: { kind: FindingKind; start: number; end: number }[];
}

const POSITIVE = String.raw`
Write to {{email:jane.roe@mail.example.org}} or {{email:j.roe+shop@example.co.uk}}, please.
Schreib an {{email:jürgen.müller@bücher-laden.example.de}}.
My mail is ({{email:o'neil_99@web.example}}).
E-Mail: {{email:a@b.io}}; Fax: {{phone:030 901820}}
連絡先は{{email:sato@example.jp}}です。
Ring me on {{phone:+44 20 7946 0958}} after six.
Call {{phone:020 7946 0958}} or my mobile, {{phone:07700 900123}}.
Our number: {{phone:(415) 555-2671}}.
You can text {{phone:415-555-2671}} any time, or {{phone:+1 415 555 2671}}.
Tel. {{phone:+49 (0)30 901820}}
Telefon: {{phone:089/636-48018}}
Ruf mich an: {{phone:0151 23456789}}.
Mein Handy ist {{phone:+4915123456789}}.
Appelle-moi au {{phone:06 12 34 56 78}} ce soir.
Mon numéro est le {{phone:+33 6 12 34 56 78}}.
Llámame al {{phone:612 345 678}}.
El teléfono es {{phone:+34 91 123 45 67}}.
Il mio cellulare: {{phone:347 123 4567}}
Ligue para {{phone:(11) 91234-5678}} amanhã.
Mijn nummer is {{phone:06-12345678}}.
Ring {{phone:08-123 456 78}} eller skriv till {{email:astrid@example.se}}.
Позвоните мне: {{phone:8 (495) 123-45-67}}.
電話は{{phone:03-1234-5678}}です。
我的手机是{{phone:138 1234 5678}}。
هاتفي {{phone:+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧}}
Call me on {{phone:98765 43210}} when the parcel comes.
Phone {{phone:0412 345 678}} for the keys.
WhatsApp: {{phone:+55 11 91234-5678}}
She rang from {{phone:00 353 1 234 5678}} twice.
The IBAN is {{iban:GB29 NWBK 6016 1331 9268 19}}.
Bitte auf {{iban:DE89370400440532013000}} überweisen.
Konto {{iban:AT61 1904 3002 3457 3201}} bei der Bank.
Mon IBAN: {{iban:FR14 2004 1010 0505 0001 3M02 606}} et voilà.
Rekening {{iban:NL91ABNA0417164300}}, t.n.v. de club.
Pay into {{iban:CH93 0076 2011 6238 5295 7}} BIC POFICHBE.
Card {{card:4111 1111 1111 1111}}, expires 04/29.
Charge it to {{card:5555555555554444}} please.
Amex {{card:3782 822463 10005}} is the company's.
JCB {{card:3530111333300000}}, Discover {{card:6011-1111-1111-1117}}.
My account number is {{account:31926819}} and the sort code {{account:60-16-13}}.
Kontonummer: {{account:0532013000}}, BLZ: {{account:37040044}}
The routing number is {{account:021000021}}.
My SSN is {{id-number:219-09-9999}}.
NI number {{id-number:AB 12 34 56 C}}.
Steuer-ID {{id-number:86095742719}}, seit 2008.
Numéro de sécu {{id-number:2 69 05 49 588 157 80}}.
DNI {{id-number:12345678Z}} y NIE {{id-number:X1234567L}}.
Codice fiscale {{id-number:RSSMRA85T10A562S}}.
AHV-Nummer {{id-number:756.9217.0769.85}}
PESEL {{id-number:44051401359}}.
Mitt personnummer är {{id-number:811218-9876}}.
Henkilötunnus {{id-number:131052-308T}}.
Rijksregisternummer {{id-number:85.07.30-033.28}}
CPF {{id-number:111.444.777-35}}.
身份证号{{id-number:11010519491231002X}}
My NHS number is {{id-number:943 476 5919}}.
SIN: {{id-number:046 454 286}}
СНИЛС {{id-number:112-233-445 95}}
TC kimlik: {{id-number:10000000146}}
Passport number {{id-number:C01X00T47}}, valid to 2031.
Kundennummer: {{id-number:4711-0815-23}}.
My membership number is {{id-number:90210-77}}.
Driving licence number {{id-number:MORGA657054SM9IJ}}.
The medical record number is {{id-number:MRN-0045821}}.
AWS: {{key:AK~IAIOSFODNN7EXAMPLQ}}
token {{key:gh~p_16C7e42F292c6912E7710c838347Ae178B4a}}
export OPENAI_API_KEY={{key:sk~-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z}}
stripe {{key:sk~_live_4eC39HqLyjWDarjtT1zdp7dc}}
slack: {{key:xox~b-123456789012-abcdefABCDEF}}
maps key {{key:AI~zaSyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v}}
hub {{key:hf~_AbCdEfGhIjKlMnOpQrStUvWxYz012345}}
{{key:ey~JhbGciOiJIUzI1NiJ9.ey~JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U}}
{{key:-----BEGIN OPENSSH ~PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH ~PRIVATE KEY-----}}
api key: {{key:9f8e7d6c5b4a39281706f5e4d3c2b1a0}}
the webhook secret 7 is {{key:Zk3Q9xVt2LmP8rYw5NbJ4sHd}}
Authorization: Bearer {{key:mF_9.B5f-4.1JqM-7xQz}}
The Wi-Fi password is {{password:tidesome-turnip-42}}.
password: {{password:hunter2}}
Passwort: {{password:Sommer2019!}}
Das WLAN-Passwort lautet "{{password:nicht raten}}".
mot de passe : {{password:Soleil!77}}
la contraseña es {{password:Gato_1987}}.
My login password for the bank is {{password:Blue$Heron9}}, do not share it.
{"user": "mara", "password": "{{password:s3cr3t-Pa55}}"}
パスワードは{{password:abc12345}}
пароль: {{password:Zima2024}}
My PIN is {{password:4711}}.
The alarm code is {{password:9153}}, then the green button.
Der Türcode lautet {{password:0815}}.
CVV: {{password:737}}
See {{url:https://mara:bread99@shop.example/admin}} for the back office.
Download: {{url:https://files.example.com/x?token=a81f9c20bb7e}} today.
I was born on {{date-of-birth:12 March 1984}} in a storm.
DOB: {{date-of-birth:1984-03-12}}
date of birth {{date-of-birth:03/12/1984}}.
Geboren am {{date-of-birth:12.03.1984}} in Kiel.
Née le {{date-of-birth:12 mars 1984}}.
Fecha de nacimiento: {{date-of-birth:12 de marzo de 1984}}
My birthday is the {{date-of-birth:twentieth of November}}.
生年月日：{{date-of-birth:1984年3月12日}}
The server is at {{ip:203.0.113.77}}, port 22.
IPv6 {{ip:2001:db8:85a3::8a2e:370:7334}} works too.
Printer: {{ip:00:1B:44:11:3A:B7}}
I live at {{address:12 Harbour Lane, Flat 3}}.
Send it to {{address:221B Baker Street, London NW1 6XE}}.
Ship to {{address:742 Evergreen Terrace, Springfield, IL 62704}}
We moved to {{address:1600 N. Oak Avenue}} last year.
Ich wohne in der {{address:Hauptstraße 5a, 20095 Hamburg}}.
Adresse: {{address:Alte Allee 12, 80331 München}}
J'habite au {{address:14 bis rue de la Paix, 75002 Paris}}.
Vivo en la {{address:Calle de Alcalá, 42}}.
Abito in {{address:Via Roma 7, 00184 Roma}}.
Moro na {{address:Rua das Flores, 123}}.
Ik woon op de {{address:Keizersgracht 174, 1016 DW Amsterdam}}.
Jag bor på {{address:Storgatan 5, 114 55 Stockholm}}.
Mieszkam przy {{address:ul. Długa 8}}.
Я живу: {{address:ул. Ленина, д. 5}}.
郵便: {{address:〒100-0001 東京都千代田区千代田1-1}}
地址：{{address:上海市南京东路100号}}
Write to {{address:PO Box 1234}}.
The postcode is {{address:SW1A 1AA}}.
I saw Dr {{name:Amelia Okonkwo}} on Tuesday.
Frau {{name:Schneider}} von nebenan hat den Schlüssel.
Ask Mr. {{name:O'Brien-Katz}} about the fence.
My sister {{name:Efua}} drives the ferry.
my doctor is called {{name:Ravi Menon}} and is kind.
Her husband, {{name:Tom}}, left.
Meine Nachbarin {{name:Ilse}} gießt die Blumen.
Ma voisine {{name:Hélène Marchand}} garde le chat.
Mi jefa {{name:Lucía Ferrer}} no lo sabe.
Dear {{name:Priscilla}},\nthank you for the cake.
Kind regards,\n{{name:Oswald Pym}}
My name is {{name:Ludmila van der Berg}}.
Ich heiße {{name:Gernot Blau}} und wohne hier.
Me llamo {{name:Ximena Prado}}.
I met {{name:Kevin Abernathy}} at the gym.
{{name:Agnieszka Nowak}} owes me forty pounds.
`;

const NEGATIVE = String.raw`
The meeting is on 12.03.2024 at 14:30, and lasts 1.5 hours.
From 1990 to 1995 there were 1,234,567 of them.
ISBN 978-3-16-148410-0 is out of print.
Version 10.0.19045.3803 was released; use v1.2.3.4 or later.
The ratio was 0.75 of the way between 0.123456789 and 12345.678.
Add 250 g of flour, 2 eggs and 100 ml of milk.
Order 66 was placed 2023-05-06T12:34:56Z.
Pi is 3.14159265358979323846.
The answer is 42, or 1 234 567 in total.
In 1969 about 600 million people watched.
p < 0.001 (95% CI 1.20-3.45), n = 12345.
Use git@github.com:owner/repo.git or https://example.org/path?page=2&sort=name.
See https://docs.example.org:8080/guide for more.
postgres://user:{PASSWORD}@host/db is the form.
The password must have at least 8 characters.
Your password is required. Please reset your password for the account.
Passwords: how long should they be?
password = input("Enter the password: ")
def login(username: str, password: str) -> bool:
The pin fell on the floor. PIN it to the board.
The combination is rare.
Please enter your PIN: ****
127.0.0.1 is the machine itself and 255.255.255.0 a mask.
std::vector<int> a; namespace::b::c d; 12:34:56 is a time.
The hash is d41d8cd98f00b204e9800998ecf8427e.
The id is 123e4567-e89b-12d3-a456-426614174000.
getElementByIdAndTagName2WithOptions is a long name.
calculate_total_price_for_2024_orders_v2 returns a number.
loadExampleDatasetFromPath2024Backup
4111 1111 1111 1112 fails the check.
GB29 NWBK 6016 1331 9268 18 fails too.
Einstein was born on 14 March 1879 in Ulm.
His birthday party is on Saturday.
Born in the USA is a song.
We walked 5 miles down the street and 2 more up the hill.
It took 12 minutes of the day.
The first 3 places are taken; take the second road on the left.
Route 66 is 3,940 km long.
On the way we saw 7 drive-in cinemas.
The Dr. will see you. Mr and Mrs are titles.
My friend is coming. My wife and I agree. My boss Monday was late.
Dear Sir or Madam, Dear All, Hello World! Hi there, Hello everyone,
Best regards,\n[Your Name]
Michael is a common name. Grace Hall is a building. Victoria Falls is high.
Boil the potatoes until tender. Thank you!
A liter has 1000 ml. Chapter 12. Figure 3.4. Section 1.2.3.4.
Windows 10, iPhone 14, Boeing 747-400, Airbus A380-800, 737 MAX 8
The score was 3-1, 21-19, 6-4 6-3.
100 200 300 400 500
2, 4, 6, 8, 10, 12, 14, 16
$1,234.56, EUR 99.99 and £1 250 000
#123456 is the color; rgb(12, 34, 56)
Call of Duty 4 sold 15 million.
NCT01234567 and PMID 12345678 and doi:10.1000/182.
Flight BA 2490 leaves at 10:05 from gate 12.
The code is good: it returns 200 or 404.
Der Platz 3 ist frei, Weg 5 ist gesperrt.
La place 2 et le chemin sont libres.
`;

/** A second set, written when the patterns found the first; its misses led to changes, and those that are left are out of reach. */
const SECOND = String.raw`
Reach out: {{email:k.lindholm@posteo.example}} / {{phone:+358 40 123 4567}}
You'll get me on {{phone:01632 960 983}} most evenings.
The landlord's number is {{phone:(212) 555-0187}} - ask for {{name:Gus}}.
mobil {{phone:0171-4567890}}, abends {{phone:04321 98765}}
Rappelle-moi : {{phone:07.98.76.54.32}}
Mi móvil es {{phone:699 12 34 56}} y el fijo {{phone:91 555 01 23}}.
{{phone:+81-90-1234-5678}} is her number in Osaka.
Dial {{phone:1-800-555-0199}} and press 3.
Please wire the deposit to {{iban:ES91 2100 0418 4502 0005 1332}}.
IBAN {{iban:PL61109010140000071219812874}}, thanks!
Visa ending soon: {{card:4012-8888-8888-1881}}
account no: {{account:70872490}}, sort code: {{account:40-47-84}}
My bank account is {{account:12345678}} at the credit union.
He gave me his social: {{id-number:457-55-5462}}
Meine Steuernummer ist {{id-number:47036892816}}.
NIF {{id-number:87654321X}}
My driver's license is {{id-number:D1234567}} from California.
Passport: {{id-number:533380006}}
Patient {{name:Dorothea Brandt}}, born {{date-of-birth:7 July 1951}}, allergic to penicillin.
{{name:Niklas}} has his birthday on {{date-of-birth:3 May}}.
She was born {{date-of-birth:01/09/1992}} in Leeds.
Mein Geburtstag ist der {{date-of-birth:5. Juni 1970}}.
The router login is admin, password {{password:Blau-Wal-77}}.
Wifi: PurpleCow, pass: {{password:moo4moo4}}
My Netflix password is {{password:cheese}}.
Gate code {{password:2580}} then push.
The safe opens with {{password:36-12-24}}.
GITHUB_TOKEN={{key:gh~s_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5}}
secret_key = "{{key:d8Kq2Lm9Xv4Tz7Rb1Np6Wc3Y}}"
ssh deploy@{{ip:198.51.100.23}}
{{url:mongodb+srv://app:Tr0mbone@cluster0.example.net/db}}
We live in {{address:45 Pilchard Row, Tarnwick}}.
My flat is {{address:Flat 2, 9 Mill Road, Cambridge CB1 2AD}}.
Schick es an {{address:Lindenweg 3, 24103 Kiel}}.
Nous sommes au {{address:8, avenue Foch, 69006 Lyon}}.
Sto in {{address:Corso Garibaldi 15/B, Milano}}.
{{address:350 Fifth Avenue, New York, NY 10118}} is the office.
Can you pick up {{name:Tilda}} from school?
{{name:Uncle Bert}} rang about the boat.
My therapist Dr. {{name:Hao Lin}} says no.
Thanks,\n{{name:Philippa}}
I told {{name:Rebecca Stone}} and {{name:Hamid}} everything.
Lieber {{name:Konrad}},\ndanke für gestern.
The total is 49.99, see page 12 of volume 3.
Set the timer to 25:00 and the oven to 180.
It was 2019-2020, season 14, episode 07.
Use port 8080 or 443; the build is 2024.1.3.
The recipe needs 1 1/2 cups and 3/4 tsp.
Dear customer, your order has shipped.
The Treaty of Rome was signed on 25 March 1957.
A 5-4-3-2-1 countdown, 10-20-30 steps.
My teacher Mondays is always late.
x = 1234567890 * 2; y = 0x7fffffff
Distance 384,400 km, speed 299792458 m/s.
`;

/** Written last. Not a pattern was changed for it: what to expect of texts that nobody has looked at. */
const UNSEEN = String.raw`
My new address is {{address:17 Quarry Close, Exeter EX4 6RT}} from Monday.
Deliver to {{address:88 Queen Street West, Toronto, ON M5H 2N2}}.
Meine Adresse: {{address:Am Sandtorkai 30, 20457 Hamburg}}
Oma wohnt im {{address:Birkenweg 11}}.
On habite {{address:27 avenue Jean Jaurès, 31000 Toulouse}}.
La tienda está en {{address:Avenida de la Constitución 14, Sevilla}}.
Studio medico in {{address:Piazza Garibaldi 3}}.
Reach the clinic at {{phone:0131 496 0712}} or {{email:desk@clinic.example.org}}.
Call {{name:Jonas Weidmann}} on {{phone:+43 660 1234567}}.
Text me: {{phone:(503) 555-0142}}
My cell is {{phone:503.555.0142}}.
Festnetz {{phone:040 / 555 01 23}}.
Son portable, c'est le {{phone:+33 (0)7 11 22 33 44}}.
Numero: {{phone:333 1234567}}
मेरा फ़ोन {{phone:+91 98765 43210}}
Account holder: {{name:Beatrice Nwosu}}, IBAN {{iban:IE29 AIBK 9311 5212 3456 78}}
Use {{card:5105 1051 0510 5100}} for the hotel.
Account number {{account:0099812345}} at the savings bank.
Social security: {{id-number:536-90-4399}}
CF: {{id-number:BNCMRC80A01F205X}}
Employee ID: {{id-number:E-204417}}
Policy number {{id-number:HX 4471 9902}} covers the roof.
Tax ID {{id-number:65929970489}}
The password for the laptop is {{password:Gr33nHouse!}}
Mein Passwort ist {{password:Katze123}}.
Wi-Fi password: {{password:ferry-lantern-9}}
Garage code: {{password:7731}}
My phone's PIN is {{password:082619}}.
Alarm PIN {{password:5566}}, tell nobody.
Netflix: {{email:pat@inbox.example}} / {{password:popcorn!22}}
sendgrid {{key:S~G.aB1cD2eF3gH4iJ5kL6mN7o.pQ8rS9tU0vW1xY2zA3bC4dE5fG6hI7jK8lM9nO0p}}
my api token is {{key:7f3c9e21ab604d58bb1290ef}}
My daughter {{name:Saoirse}} starts school.
{{name:Mr Ferreira}} called twice.
Dr. {{name:Yusuf Demir}} moved my appointment.
Hi {{name:Marguerite}},\nthe tickets came.
See you,\n{{name:Theo}}
My brother-in-law {{name:Casper}} snores.
{{name:Sandra Pickering}} has the spare key.
{{name:Wojciech}} is behind with the rent.
She was born on {{date-of-birth:February 3, 1988}}.
Geburtsdatum: {{date-of-birth:03.02.1988}}
Birthday: {{date-of-birth:Feb 3}}
Home server {{ip:192.0.2.14}}
The train leaves at 08:15 from platform 4 and costs 12.50.
In 2023 sales rose by 14.2% to 3,450,000 units.
Mix 2 parts sand, 1 part lime; wait 24-48 hours.
The 1st Battalion, 7th Cavalry; the 4th of July 1776.
ISO 9001:2015, RFC 2616, IEEE 802.11ax.
Password managers are useful; a PIN has four digits.
Turn left after 200 m, then right at the second roundabout.
The King James Bible, the Nobel Prize, Mount Everest 8848 m.
`;

function parse(line: string): MarkedText {
  const source = line.replaceAll('\\n', '\n').replaceAll('~', '');
  const marked: MarkedText['marked'] = [];
  let text = '';
  let at = 0;
  for (const match of source.matchAll(/\{\{([a-z-]+):([\s\S]*?)\}\}/g)) {
    text += source.slice(at, match.index);
    marked.push({ kind: match[1] as FindingKind, start: text.length, end: text.length + match[2]!.length });
    text += match[2]!;
    at = match.index + match[0].length;
  }
  return { text: text + source.slice(at), marked };
}

const lines = (block: string) => block.split('\n').filter((line) => line.trim() !== '');
export const positive: readonly MarkedText[] = lines(POSITIVE).map(parse);
export const negative: readonly MarkedText[] = lines(NEGATIVE).map(parse);
export const second: readonly MarkedText[] = lines(SECOND).map(parse);
export const unseen: readonly MarkedText[] = lines(UNSEEN).map(parse);
