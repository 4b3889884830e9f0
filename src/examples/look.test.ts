import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lookAt } from './look.js';

const look = (name: string, text: string, columns?: string) => lookAt({ name, bytes: Buffer.from(text) }, { columns });
const texts = ({ first }: Awaited<ReturnType<typeof look>>) =>
  first.map(({ messages }) => messages.map(({ content }) => content).join(' > '));

describe('a file before it is taken', () => {
  it('guesses which columns are which, whatever they are called', async () => {
    const tables: [string, string, string, string][] = [
      [
        'a.csv',
        'Nr;Frage;Antwort\n1;Wann offen?;Um acht.\n',
        'question=Frage,answer=Antwort',
        'Wann offen? > Um acht.',
      ],
      [
        'b.tsv',
        'id\tThe customer asks\tWhat we reply\n7\tOpen today?\tYes, until four.\n',
        'question=The customer asks,answer=What we reply',
        'Open today? > Yes, until four.',
      ],
      [
        'c.csv',
        'When are you open?,From eight till four.\nWhere are you?,Behind the mill.\n',
        'question=#1,answer=#2',
        'When are you open? > From eight till four.',
      ],
      [
        'd.json',
        '[{"ticket":"9","pregunta":"¿Abierto?","respuesta":"Sí."}]',
        'question=pregunta,answer=respuesta',
        '¿Abierto? > Sí.',
      ],
      [
        'e.jsonl',
        '{"problema":"Is it open now?","n":1,"nota":"It is, until four o\'clock."}\n',
        'question=problema,answer=nota',
        "Is it open now? > It is, until four o'clock.",
      ],
      ['f.csv', 'text,label\nI love it,good\nI hate it,bad\n', 'question=text,answer=label', 'I love it > good'],
      [
        'g.csv',
        'day,notes,thoughts\n2023-01-02,The wheel is round and made of wood,Round things roll\n',
        'question=notes,answer=thoughts',
        'The wheel is round and made of wood > Round things roll',
      ],
    ];
    for (const [name, text, columns, first] of tables) {
      const seen = await look(name, text);
      assert.equal(seen.columns, columns, name);
      assert.ok(seen.guessed, name);
      assert.equal(texts(seen)[0], first, name);
    }
  });

  it('shows what a choice of columns comes to, and why it comes to nothing', async () => {
    const csv = 'Nr,Frage,Antwort,Ton\n1,Wann offen?,Um acht.,Sei freundlich.\n2,Wo?,,Sei kurz.\n3,Wo genau?,Dort.,\n';
    const seen = await look('a.csv', csv, 'question=Frage,answer=Antwort,system=Ton');
    assert.deepEqual(texts(seen), ['Sei freundlich. > Wann offen? > Um acht.', 'Wo genau? > Dort.']);
    assert.deepEqual(seen.table?.chosen, { question: 'Frage', answer: 'Antwort', system: 'Ton' });
    assert.equal(seen.table?.columns.find(({ name }) => name === 'Nr')?.sample, '1');
    assert.deepEqual([seen.records, seen.examples], [3, 2]);
    assert.deepEqual(seen.left, [{ reason: '"output" is empty', kind: 'empty', records: 1, line: 3 }]);
    const wrong = await look('a.csv', csv, 'question=Frage,answer=Preis');
    assert.match(wrong.problem?.message ?? '', /"preis" is missing/);
    assert.equal(wrong.examples, 0);
  });

  it('has nothing to ask where the names say it, and knows which they are', async () => {
    const seen = await look('a.csv', 'question,answer,id\nWhen?,At four.,1\n');
    assert.deepEqual([seen.guessed, seen.columns, seen.chat], [false, undefined, undefined]);
    assert.deepEqual(seen.table?.chosen, { question: 'question', answer: 'answer' });
    const chat = await look(
      'a.json',
      '[{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}]',
    );
    assert.equal(chat.table, undefined);
    assert.equal((await look('a.txt', 'Just a text.\n')).table, undefined);
    await assert.rejects(look('a.bin', 'nothing that is read'), { code: 'wrong-format' });
  });

  it('asks who somebody is in a chat', async () => {
    const text = '14/05/23, 9:01 - Ben: Open?\n14/05/23, 9:02 - Anna: Yes.\n';
    const seen = await look('WhatsApp Chat with Ben.txt', text);
    assert.deepEqual(
      [seen.chat, seen.columns, texts(seen)],
      [{ people: ['Anna', 'Ben'], me: 'Anna' }, 'me=Anna', ['Open? > Yes.']],
    );
    const other = await look('x.txt', text, 'me=Ben');
    assert.deepEqual([other.chat?.me, other.chat?.people.length, other.examples], ['Ben', 2, 0]);
    assert.ok(other.problem);
  });
});
