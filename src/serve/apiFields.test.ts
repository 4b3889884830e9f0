import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TObject } from 'typebox';
import { u32 } from '../formats/gguf/values.js';
import { endpoints } from '../testing/apiFields.js';
import { tableOf, withoutHead } from '../testing/apiTable.js';
import { addTinyModel, Client, newHome, serve } from '../testing/server.js';
import { apiRoutes } from './startServer.js';

/** Each field of each endpoint is sent, alone: it does what the table of `docs/api.md` says. LOAM_WRITE_DOCS=1 writes the tables. */

const home = newHome();
await addTinyModel(home, { tied: false, seed: 5, metadata: { 'llama.context_length': u32(2048) } });
const server = await serve(home);
const client = new Client(server.port, server.token);
const path = fileURLToPath(new URL('../../docs/api.md', import.meta.url));

for (const endpoint of endpoints) {
  const plain = await client.send('POST', endpoint.path, endpoint.plain);
  describe(`POST ${endpoint.path}`, () => {
    const send = async (fields: object) => await client.send('POST', endpoint.path, { ...endpoint.plain, ...fields });

    it('answers a plain request, in the same way each time', async () => {
      assert.equal(plain.status, 200, plain.text);
      assert.deepEqual(endpoint.said(await send({})), endpoint.said(plain));
    });

    for (const { name, how, value, other, beside, shows } of endpoint.fields) {
      it(`${name}: ${how}`, async () => {
        const reply = await send({ ...beside, [name]: value });
        const detail = `${reply.status} ${reply.text.slice(0, 300)}`;
        if (how === 'refused') {
          assert.equal(reply.status, 400, detail);
          assert.ok(reply.json.error.message.includes(name), detail);
        } else if (how === 'none' || how === 'only') {
          assert.equal(reply.status, 200, detail);
          assert.equal(withoutHead(reply.text), withoutHead(plain.text));
          if (how === 'none') return;
          const { status, json } = await send({ [name]: other });
          assert.deepEqual([status, json.error?.message.includes(name)], [400, true], JSON.stringify(json));
        } else if (shows) assert.ok(shows(reply, plain, endpoint.said), detail);
        else {
          assert.equal(reply.status, 200, detail);
          const without = beside ? await send(beside) : plain;
          assert.notDeepEqual(endpoint.said(reply), endpoint.said(without));
        }
      });
    }

    it(`${endpoint.isOpen ? 'passes over' : 'refuses by its name'} a field that it does not know`, async () => {
      const reply = await send({ colour: 'green' });
      if (endpoint.isOpen) assert.deepEqual(endpoint.said(reply), endpoint.said(plain));
      else assert.deepEqual([reply.status, reply.json.error.message.includes('colour')], [400, true]);
    });

    it('has every field of its schema in the table, once', () => {
      const route = apiRoutes.find((one) => one.method === 'POST' && one.path === endpoint.path)!;
      const names = endpoint.fields.map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      const missing = Object.keys((route.body as TObject).properties).filter((name) => !names.includes(name));
      assert.deepEqual(missing, []);
    });

    it('has its table in docs/api.md', () => {
      const head = `### \`POST ${endpoint.path}\`\n\n`;
      const text = readFileSync(path, 'utf8');
      const at = text.indexOf(head);
      assert.ok(at >= 0, head);
      const begin = text.indexOf('|', at);
      const [old = ''] = /^(\|[^\n]*\n)+/.exec(text.slice(begin)) ?? [];
      const table = `${tableOf(endpoint)}\n`;
      if (process.env.LOAM_WRITE_DOCS)
        writeFileSync(path, text.slice(0, begin) + table + text.slice(begin + old.length));
      else assert.equal(old, table);
    });
  });
}
