import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, Phone, Serving, skipBrowser } from '../testing/browser.js';
import { buildZip } from '../testing/buildZip.js';
import { pressableInPage } from '../testing/pressable.js';
import { addTinyModel, Client, newHome, readEvents } from '../testing/server.js';

/**
 * The page in a real browser on a tiny model, where what an answer says does not matter: what an adapter was tested for, what was typed
 * and not sent, large text. Each test begins at a place of its own, and none needs another.
 */

/** Known to the search for private details. */
const mail = (i: number) => `mara.quill${i}@wheelwright-lane.org`;

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const home = newHome();
if (!skipBrowser) await addTinyModel(home, { layers: 2 });

describe('the screens', { skip: skipBrowser }, () => {
  let browser: Browser;
  let phone: Phone;
  let page: Page;
  let serving: Serving;
  let client: Client;
  let dataset: string;
  let adapter: string;
  let version: string;
  let job: string;
  /** A data set with a record that cannot be used. */
  let leaky: string;
  const button = (name: string | RegExp) => phone.button(name);
  const dialog = () => phone.dialog();

  before(async () => {
    serving = await Serving.start(home);
    client = new Client(serving.port, serving.token);
    const examples = Array.from({ length: 24 }, (_, i) => ({
      instruction: `Say number ${i}`,
      input: '',
      output: i < 3 ? `write to ${mail(i)}` : `the thing in the ${['inn', 'inner tin', 'theatre'][i % 3]}`,
    }));
    ({ id: dataset } = await client.ok('POST', '/api/datasets?name=sayings', { examples }));
    const half = [
      { instruction: 'a', output: 'b' },
      { instruction: 'Where is the kettle?', output: '' },
    ];
    ({ id: leaky } = await client.ok('POST', '/api/datasets?name=leaky', { examples: half }));
    const options = { method: 'qlora', patience: 99, runs: 1, threads: 1, epochs: 1, replay: 0, skipGeneral: true };
    ({ id: job } = await client.ok('POST', '/api/jobs', { name: 'sayings', dataset, model: 'tiny', options }));
    const done = await client.job(job, ({ state }) => state === 'done' || state === 'failed');
    ({ id: adapter, version } = done.adapter!);
    browser = await launchChromium();
    phone = await Phone.open(browser);
    page = phone.page;
    await page.goto(serving.link);
    await page.getByRole('heading', { name: 'Welcome back' }).waitFor();
  });

  after(async () => {
    await browser?.close();
    await serving?.end('SIGKILL');
  });

  /** The entry of a sheet that was closed is gone from the history: a reload must not meet its going. */
  const settled = () => phone.until('history.state === null');

  /** A conversation of one question. @returns its id */
  const converse = async (message: string): Promise<string> => {
    const [begun] = await readEvents(client, '/api/chat', {
      method: 'POST',
      body: { model: 'tiny', message, options: { maxTokens: 12, temperature: 0 } },
    });
    return begun!.data.conversation as string;
  };

  beforeEach(async () => {
    await page.evaluate('delete history.go');
    await phone.go('settings');
  });

  it('says how far an adapter was tested, in words and colour, and asks before an export', async () => {
    const report = { findings: 3, probed: 3, left: 0, reproduced: 0 };
    const verdicts = { reproduced: 0, likely: 0, 'not found': 3, 'not probed': 0 };
    const cases = [
      ['untried', 'warn', 'Not tested', true, undefined],
      ['partly', 'warn', 'Partly tested', true, { probed: 1, left: 2, verdicts: { ...verdicts, 'not probed': 2 } }],
      ['clean', 'good', 'Tested: no private detail found', false, { verdicts }],
      ['found', 'bad', 'It gives private details away', true, { verdicts: { ...verdicts, reproduced: 1 } }],
    ] as const;
    for (const [name, look, title, asks, more] of cases) {
      await page.route('**/api/adapters', async (route) => {
        const answer = await route.fetch();
        const { adapters: all } = (await answer.json()) as {
          adapters: { id: string; versions: { memorised: object }[] }[];
        };
        const adapters = all.filter(({ id }) => id === adapter);
        const [latest] = adapters[0]!.versions;
        const memorised = more && { ...latest!.memorised, ...report, ...more };
        adapters[0]!.versions[0] = { ...latest!, memorised: memorised as object };
        await route.fulfill({ response: answer, json: { adapters } });
      });
      await phone.go('adapters');
      await page.locator(`.chip.${look}`).first().waitFor();
      await phone.go(`adapters/${adapter}`);
      const note = page.locator(`.layer .note.${look}`);
      await note.getByText(title).waitFor();
      await phone.show(`tested-${name}`);
      await button('Export').click();
      await dialog().locator(`.note.${look}`, { hasText: title }).waitFor();
      const confirm = dialog().getByRole('button', { name: 'Export' });
      const agree = dialog().getByRole('checkbox');
      assert.equal(await agree.count(), asks ? 1 : 0, name);
      assert.equal(await confirm.isDisabled(), asks, name);
      if (asks) await agree.check();
      assert.ok(await confirm.isEnabled(), name);
      await page.keyboard.press('Escape');
      // Waits for answers that are under way.
      await page.unrouteAll({ behavior: 'wait' });
      await phone.go('settings');
    }
    await page.route('**/api/status', async (route) => {
      const answer = await route.fetch();
      const status = (await answer.json()) as object;
      await route.fulfill({ response: answer, json: { ...status, probing: [{ version, done: 1, total: 3 }] } });
    });
    await phone.go(`adapters/${adapter}`);
    await page.reload();
    await page.getByText('The test goes on').waitFor();
    assert.deepEqual(await pressableHere('while it is tested'), []);
    await page.unrouteAll({ behavior: 'wait' });
    await page.reload();
    await button('Test again').click();
    await page
      .getByText(/The test goes on|It was tried with all/)
      .first()
      .waitFor();
    await page.locator('.layer .note.good').waitFor();
  });

  it('keeps typed examples over another screen, going back, a reload and a second tab, and takes a removal back', async () => {
    await phone.go('data/add');
    await page.getByRole('radio', { name: 'Type' }).check();
    const asks = page.getByLabel('Someone asks');
    await asks.fill('When are you open?');
    await page.getByLabel('You answer').fill('From eight till four.');
    await button('Add another').click();
    await asks.fill('Where is the wor');
    await phone.go('chat');
    await page.goBack();
    assert.equal(await asks.inputValue(), 'Where is the wor');
    await page.reload();
    await page.getByRole('group', { name: 'Example 2' }).waitFor();
    assert.equal(await asks.inputValue(), 'Where is the wor');
    const tab = await phone.tab(`${serving.origin}/#/data/add`);
    await tab.getByLabel('Someone asks').fill('Where is the workshop?');
    await phone.until("document.querySelector('textarea').value.endsWith('shop?')");
    await tab.close();
    await button('Remove example 1').click();
    await page.getByRole('group', { name: 'Example 1' }).waitFor();
    await page.getByLabel('You answer').fill('Behind the mill.');
    await button('Undo').click();
    await page.getByText('From eight till four.').waitFor();
    assert.equal(await page.getByLabel('You answer').inputValue(), 'Behind the mill.');
    await button('Save 2 examples').click();
    await page.locator('.example').filter({ hasText: 'Behind the mill.' }).waitFor();
    await phone.go('data/add');
    await page.getByRole('radio', { name: 'Type' }).check();
    assert.equal(await asks.inputValue(), '');
  });

  it('asks which column is which and who is who, shows what is learnt, and has what it could not use repaired', async () => {
    await pick('prices.csv', 'Nr;Frage;Antwort;Ton\n1;Was kostet es?;Zwei Euro.;Kurz\n2;Und sonst?;;Kurz\n');
    await dialog().locator('.passage.answer', { hasText: 'Zwei Euro.' }).waitFor();
    await dialog().getByText('1 record: the answer is empty').waitFor();
    assert.equal(await dialog().getByLabel('You answer').inputValue(), 'Antwort');
    await dialog().getByLabel('Instructions').selectOption('Ton');
    await dialog().locator('.passage', { hasText: 'Kurz' }).waitFor();
    await phone.show('columns');
    await button('Add 1 example').click();
    await page.getByRole('heading', { name: 'prices' }).waitFor();
    await button('1 record left out: see why').click();
    await button(/^Repair/).click();
    assert.equal(await dialog().getByLabel('Someone asks').inputValue(), 'Und sonst?');
    await dialog().getByLabel('You answer').fill('Nichts.');
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    await settled();
    await page.reload();
    await button('1 record left out: see why').click();
    await button(/^Repair/).click();
    assert.equal(await dialog().getByLabel('You answer').inputValue(), 'Nichts.');
    await phone.show('repair');
    await button('Save').click();
    await dialog().waitFor({ state: 'detached' });
    await page.getByText('2 examples', { exact: true }).waitFor();

    await pick('WhatsApp Chat with Ben.txt', chat);
    assert.equal(await dialog().getByLabel('You are').inputValue(), 'Anna');
    await dialog().locator('.passage.answer', { hasText: 'Until four.' }).waitFor();
    await phone.show('who');
    await dialog().getByLabel('You are').selectOption('Ben');
    await dialog().locator('.passage.answer', { hasText: 'Good.' }).waitFor();
    await dialog().getByLabel('You are').selectOption('Anna');
    await dialog().locator('.passage.answer', { hasText: 'Until four.' }).waitFor();
    await button('Add 1 example').click();
    await page.getByRole('heading', { name: 'WhatsApp Chat with Ben' }).waitFor();
    await page.locator('.example', { hasText: 'Until four.' }).waitFor();

    // With its pictures, as an archive, and with a name that is taken.
    const photo = { name: 'IMG-20230514-WA0001.jpg', data: Buffer.alloc(2000, 0xd8) };
    const text = { name: 'WhatsApp Chat with Ben.txt', data: Buffer.from(chat), method: 8 };
    await pick('WhatsApp Chat with Ben.zip', buildZip([photo, text]));
    assert.equal(await dialog().getByLabel('You are').inputValue(), 'Anna');
    await button('Add 1 example').click();
    await page.getByRole('heading', { name: 'WhatsApp Chat with Ben 2' }).waitFor();
    await page.locator('.example', { hasText: 'Until four.' }).waitFor();

    await phone.go('data/add');
    await page.getByRole('radio', { name: 'Paste' }).check();
    await page.getByLabel('Text', { exact: true }).fill('Q: Where?\nA: Behind the mill.\n');
    await button('Add').click();
    await page.locator('.example', { hasText: 'Behind the mill.' }).waitFor();
  });

  it('keeps an edit over Escape, a tap beside the sheet and a reload; going back closes the sheet', async () => {
    await phone.go(`data/${dataset}`);
    const row = page.locator('.example').filter({ hasText: 'Say number 5' });
    await row.click();
    await button('Edit').click();
    const answer = dialog().getByLabel('The answer');
    await answer.fill('quite another thing');
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    await row.click();
    assert.equal(await answer.inputValue(), 'quite another thing');
    await page.mouse.click(180, 8);
    await dialog().waitFor({ state: 'detached' });
    await settled();
    await page.reload();
    await button('Go on with example 6').click();
    assert.equal(await answer.inputValue(), 'quite another thing');
    const place = page.url();
    await page.goBack();
    await dialog().waitFor({ state: 'detached' });
    assert.equal(page.url(), place);

    // Somebody else changes the same example.
    const example = { instruction: 'Say number 5', input: '', output: 'changed elsewhere' };
    await client.ok('PATCH', `/api/datasets/${dataset}`, { edit: [{ index: 5, example }] });
    await page.locator('.example').filter({ hasText: 'changed elsewhere' }).click();
    await dialog().getByRole('heading', { name: 'Stored now' }).waitFor();
    await dialog().getByText('changed elsewhere').last().waitFor();
    assert.equal(await answer.inputValue(), 'quite another thing');
    await phone.show('conflict');
    await button('Keep mine').click();
    await button('Save').click();
    await dialog().getByText('quite another thing').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.example').filter({ hasText: 'quite another thing' }).waitFor();
    assert.equal(await page.getByText('not saved yet').count(), 0);
  });

  it('stays at a place that was chosen as a sheet closed, however long the browser takes to go back', async () => {
    const leaveFromSheet = async () => {
      await page.locator('.example').first().click();
      await button('Edit').waitFor();
      await page.keyboard.press('Escape');
      await dialog().waitFor({ state: 'detached' });
      await phone.go('adapters');
      await page.getByRole('heading', { name: 'Adapters', level: 1 }).waitFor();
    };
    await phone.go(`data/${dataset}`);
    await page.evaluate('history.go = (steps) => setTimeout(() => History.prototype.go.call(history, steps), 300)');
    await leaveFromSheet();
    await settled();
    await page.waitForTimeout(400);
    assert.equal(new URL(page.url()).hash, '#/adapters');
    await page.goBack();
    await settled();
    assert.equal(new URL(page.url()).hash, `#/data/${dataset}`);
    // Nor does a browser that does not go back at all keep anybody from another place.
    await page.evaluate('history.go = () => {}');
    await leaveFromSheet();
  });

  it('asks what the model is to answer in place of what is redacted', async () => {
    const examples = [1, 2].map((i) => ({ instruction: `Your address, ${i}?`, output: `Write to ${mail(i)}` }));
    const { id } = await client.ok('POST', '/api/datasets?name=addresses', { examples });
    await phone.go(`data/${id}`);
    await page
      .locator('.example')
      .filter({ hasText: mail(2) })
      .click();
    await dialog()
      .getByRole('button', { name: /^Redact/ })
      .click();
    const confirm = dialog().getByRole('button', { name: 'Redact', exact: true });
    assert.ok(await confirm.isDisabled());
    await dialog().getByRole('radio', { name: 'My words' }).check();
    assert.ok(await confirm.isDisabled());
    await dialog().getByLabel('In place of [email]').fill('the address on the door');
    await phone.show('redaction');
    await confirm.click();
    await dialog().getByText('Write to the address on the door').waitFor();
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    await settled();
    await button('Redact all').click();
    assert.ok(await dialog().getByRole('button', { name: 'Redact', exact: true }).isDisabled());
    await dialog().getByRole('radio', { name: 'Leave out' }).check();
    await dialog().getByRole('button', { name: 'Redact', exact: true }).click();
    await page.locator('.example.excluded', { hasText: '[email 1]' }).waitFor();
  });

  it('takes back what was left out, and what was deleted', async () => {
    await phone.go(`data/${dataset}`);
    await page.locator('.example').filter({ hasText: 'Say number 7' }).click();
    await button('Leave it out').click();
    await page.keyboard.press('Escape');
    await page.locator('.example.excluded').waitFor();
    await button('Undo').click();
    await page.locator('.example.excluded').waitFor({ state: 'detached' });

    const { id } = await client.ok('POST', '/api/datasets?name=passing', {
      examples: [{ instruction: 'a', output: 'b' }],
    });
    await phone.go(`data/${id}`);
    await button('Delete the data set').click();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    const card = page.locator('.card', { hasText: 'passing' });
    await page.getByRole('heading', { name: 'Data' }).waitFor();
    await card.waitFor({ state: 'detached' });
    // A second tab does not do what can be undone in the first.
    const tab = await phone.tab(`${serving.origin}/#/data`);
    await tab.locator('.card').first().waitFor();
    assert.equal(await tab.locator('.card', { hasText: 'passing' }).count(), 0);
    await tab.close();
    await button('Undo').click();
    await card.waitFor();
    assert.equal((await client.ok('GET', `/api/datasets/${id}`)).name, 'passing');
    await card.click();
    await button('Delete the data set').click();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await card.waitFor({ state: 'detached' });
    // Leaving the page deletes at once: the request goes its own way, beside those of the page that comes.
    await page.reload();
    const isKept = async () => {
      const { datasets } = await client.ok('GET', '/api/datasets');
      return (datasets as { name: string }[]).some(({ name }) => name === 'passing');
    };
    while (await isKept()) await page.waitForTimeout(20);
    await page.getByRole('heading', { name: 'Data' }).waitFor();
    await card.waitFor({ state: 'detached' });
  });

  it('keeps choices, questions and notes that were not sent', async () => {
    await phone.go('tune');
    await page.locator('summary', { hasText: 'More options' }).click();
    await page.getByLabel('Name of the adapter').fill('kettle');
    await page.locator('summary', { hasText: 'Learn from other data sets as well' }).click();
    await page.getByLabel('Learn from', { exact: true }).selectOption({ label: 'leaky' });
    await page.getByRole('checkbox', { name: /^sayings/ }).check();
    await page.getByLabel('Rank', { exact: true }).fill('8');
    await phone.go('chat');
    await page.getByLabel('Message', { exact: true }).fill('Is the kettle');
    await phone.go('compare');
    await page.getByLabel('Question', { exact: true }).fill('Which kettle?');
    await phone.go(`adapters/${adapter}`);
    await button('Note').click();
    await dialog().getByLabel('Note').fill('Kinder');
    await page.keyboard.press('Escape');
    await settled();
    await page.reload();
    await button('Note').click();
    assert.equal(await dialog().getByLabel('Note').inputValue(), 'Kinder');
    await page.keyboard.press('Escape');
    await settled();
    await phone.go('compare');
    assert.equal(await page.getByLabel('Question', { exact: true }).inputValue(), 'Which kettle?');
    await phone.go('chat');
    assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'Is the kettle');
    await phone.go('tune');
    await page.locator('summary', { hasText: 'More options' }).click();
    assert.equal(await page.getByLabel('Name of the adapter').inputValue(), 'kettle');
    assert.ok(await page.getByRole('checkbox', { name: /^sayings/ }).isChecked());
    assert.equal(await page.getByLabel('Rank', { exact: true }).inputValue(), '8');
    // Nothing of it lies in the browser as text.
    const stored = await page.evaluate(`(async () => {
      const db = await new Promise((resolve) => { const r = indexedDB.open('loam-drafts'); r.onsuccess = () => resolve(r.result); });
      const all = await new Promise((resolve) => { const r = db.transaction('drafts').objectStore('drafts').getAll(); r.onsuccess = () => resolve(r.result); });
      db.close();
      return all.length + JSON.stringify(all.map((one) => [one, new TextDecoder('latin1').decode(one.sealed)])) + JSON.stringify({ ...localStorage, ...sessionStorage });
    })()`);
    assert.match(String(stored), /^[1-9]/);
    assert.doesNotMatch(String(stored), /kettle|Kinder/i);
  });

  it('keeps the rules on when tuning may run, says why a run waits, and runs it when asked', async () => {
    await page.locator('summary', { hasText: 'When tuning may run' }).click();
    await page.getByLabel('Below °C').fill('five');
    await page.getByText('A whole number from 20 to 110.').waitFor();
    await page.getByLabel('Below °C').fill('');
    await page.getByLabel('Between these hours').fill('0:00-24:00');
    await phone.go('data');
    await phone.go('settings');
    await page.locator('summary', { hasText: 'When tuning may run' }).click();
    assert.equal(await page.getByLabel('Between these hours').inputValue(), '0:00-24:00');
    await page.getByLabel('Only when I start it').check();
    await button('Save').click();
    await page.getByText('Saved.').waitFor();
    assert.deepEqual(await client.ok('GET', '/api/rules'), { hours: '0:00-24:00', onDemand: true });
    const options = { method: 'qlora', patience: 99, runs: 1, threads: 1, epochs: 1, replay: 0, skipGeneral: true };
    const { id } = await client.ok('POST', '/api/jobs', { name: 'later', dataset, model: 'tiny', options });
    await client.job(id, ({ state }) => state === 'waiting');
    await phone.go(`jobs/${id}`);
    await page.getByText('Waiting for the device').waitFor();
    await page.getByText('waits until you start it').first().waitFor();
    await button('Run now').click();
    await client.job(id, ({ state }) => state === 'done');
    await page.getByText('It has learnt').waitFor();
    await phone.go('settings');
    await page.locator('summary', { hasText: 'When tuning may run' }).click();
    assert.equal(await page.getByLabel('Between these hours').inputValue(), '0:00-24:00');
    await page.getByLabel('Only when I start it').uncheck();
    await page.getByLabel('Between these hours').fill('');
    await button('Save').click();
    await page.getByText('Saved.').waitFor();
    assert.deepEqual(await client.ok('GET', '/api/rules'), {});
  });

  it('tells the end of a run, by a notification that names nothing, if the person asked for it', async () => {
    await phone.allow('notifications');
    await client.ok('POST', '/api/rules', { onDemand: true });
    const options = { method: 'qlora', patience: 99, runs: 1, threads: 1, epochs: 1, replay: 0, skipGeneral: true };
    const { id } = await client.ok('POST', '/api/jobs', { name: 'told', dataset, model: 'tiny', options });
    await phone.go(`jobs/${id}`);
    await page.getByLabel('Tell me when it ends').check();
    await phone.until("document.querySelector('.check input:checked') && localStorage['loam-tell'] === 'yes'");
    const notes = 'navigator.serviceWorker.ready.then((one) => one.getNotifications())';
    assert.equal(await page.evaluate(`${notes}.then((all) => all.length)`), 0);
    await page.evaluate(`Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
      document.dispatchEvent(new Event('visibilitychange'));`);
    await client.ok('POST', `/api/jobs/${id}/resume?now=true`, {});
    await client.job(id, ({ state }) => state === 'done');
    await phone.until(`${notes}.then((all) => all.length === 1)`);
    const told = await page.evaluate(`${notes}.then(([one]) => [one.title, one.body, one.data])`);
    assert.deepEqual(told, ['Loam', 'A run has ended: it has learnt.', `/#/jobs/${id}`]);
    await page.evaluate(`delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))`);
    await client.ok('POST', '/api/rules', {});
    await phone.go('settings');
  });

  it('goes on with an answer when the screen is left, says when one is cut, goes on with it and asks again', async () => {
    const rule = { system: 'Be kind.', temperature: '0', topP: '', maxTokens: '24' };
    await client.ok('PATCH', '/api/settings', { mannerBase: rule });
    await phone.go('chat');
    await page.getByLabel('Talk to').selectOption({ label: 'tiny' });
    await page.getByLabel('Message', { exact: true }).fill('Where is the inn?');
    await button('How it answers').click();
    assert.equal(await dialog().getByLabel('Instructions').inputValue(), 'Be kind.');
    await dialog().getByLabel('Liveliness').fill('9');
    await dialog().getByText('A number from 0 to 5.').waitFor();
    await dialog().getByLabel('Liveliness').fill('0');
    await button('Done').click();
    await button('Send').click();
    await phone.until('location.hash.length > 10');
    const place = page.url().split('#/')[1]!;
    await phone.go('data');
    await phone.go(place);
    const answer = page.locator('.message.assistant').last();
    await answer.getByText('This answer was cut off.').waitFor();
    assert.equal(await page.locator('.message').count(), 2);
    assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), '');
    const said = async () =>
      ((await client.ok('GET', `/api/conversations/${place.split('/')[1]}`)).messages as { content: string }[]).at(-1)!
        .content;
    const before = await said();
    // What stands in the box meanwhile stays there.
    const box = page.getByLabel('Message', { exact: true });
    await box.fill('And the inn?');
    await button('Go on').click();
    await answer.getByText(/tokens, .* a second/).waitFor();
    assert.equal(await box.inputValue(), 'And the inn?');
    const after = await said();
    assert.ok(after.length > before.length && after.startsWith(before));
    await phone.show('cut');

    await button('Edit this question').click();
    await page.getByText('What follows this question is replaced.').waitFor();
    await page.getByLabel('Message', { exact: true }).fill('Where is the theatre?');
    await page.reload();
    await page.getByText('What follows this question is replaced.').waitFor();
    await button('Send').click();
    await page.locator('.message.user', { hasText: 'theatre' }).waitFor();
    await answer.getByText(/tokens, .* a second/).waitFor();
    assert.equal(await box.inputValue(), 'And the inn?');
    await box.fill('');
    assert.equal(await page.locator('.message').count(), 2);
    await button('Answer anew').click();
    await answer.getByText(/tokens, .* a second/).waitFor();
    const { messages } = await client.ok('GET', `/api/conversations/${place.split('/')[1]}`);
    assert.deepEqual(
      messages.map(({ role }: { role: string }) => role),
      ['system', 'user', 'assistant'],
    );
    await client.ok('PATCH', '/api/settings', { mannerBase: null });
  });

  it('keeps the rating of an answer once, and lights none that was not given', async () => {
    const conversation = await converse('Rate this');
    await phone.go(`chat/${conversation}`);
    const good = button('Good answer');
    await good.click();
    await dialog().waitFor();
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    assert.equal(await good.getAttribute('aria-pressed'), 'false');
    await good.click();
    await button('Only rate').click();
    await page.locator('[aria-label="Good answer"][aria-pressed=true]').waitFor();
    await page.reload();
    await page.locator('[aria-label="Good answer"][aria-pressed=true]').waitFor();
    await button('Bad answer').click();
    await dialog().getByLabel('The answer to learn').fill('This is how.');
    await button('Keep as example').click();
    await page.getByText('kept for the next tuning', { exact: true }).waitFor();
    await page.reload();
    await page.getByText('kept for the next tuning', { exact: true }).waitFor();
    await page.locator('[aria-label="Bad answer"][aria-pressed=true]').click();
    await page.locator('[aria-label="Bad answer"][aria-pressed=false]').waitFor();
  });

  it('keeps a comparison over another screen and a reload, in every tab, marks what was cut, and rates it once', async () => {
    const question = page.getByLabel('Question', { exact: true });
    const side = (part: string) => page.locator('.side', { hasText: part });
    const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`;
    const said = (side: string, text: string) => event({ type: 'text', side, text });
    const end = (side: string) => event({ type: 'side', side, reason: 'turn', tokens: 1, seconds: 1 });
    const whole = said('adapted', 'In the inn.') + end('adapted') + said('base', 'Nowhere.') + end('base');
    /** The server takes its time. @returns what tells it to answer now, once it was asked */
    const held = async () => {
      let asked = () => {};
      let release = (_: string) => {};
      const arrived = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const body = new Promise<string>((resolve) => {
        release = resolve;
      });
      await page.route('**/api/compare', async (route) => {
        asked();
        // The page that asked may be gone.
        await route.fulfill({ contentType: 'text/event-stream', body: await body }).catch(() => {});
      });
      return async (content: string) => {
        await arrived;
        release(content);
        await page.unrouteAll({ behavior: 'wait' });
      };
    };

    let answer = await held();
    await phone.go('compare');
    await question.fill('Where is the kettle?');
    await button('Ask both').click();
    await button('Stop').waitFor();
    const tab = await phone.tab(page.url());
    await tab.getByRole('button', { name: 'Stop' }).waitFor();
    await page.bringToFront();
    await phone.go('data');
    await answer(whole);
    await tab.locator('.side', { hasText: 'In the inn.' }).waitFor();
    await phone.go('compare');
    await side('Nowhere.').waitFor();
    await page.reload();
    await side('In the inn.').waitFor();
    assert.equal(await page.getByText('This answer was cut off.').count(), 0);

    const good = (pressed: boolean) => page.locator(`[aria-label="Good answer"][aria-pressed=${pressed}]`);
    await button('Good answer').click();
    await button('Only rate').click();
    await good(true).waitFor();
    await page.reload();
    await good(true).click();
    await good(false).waitFor();
    await button('Good answer').click();
    await button('Keep as example').click();
    await page.getByText('kept for the next tuning', { exact: true }).waitFor();
    const rating = { prompt: 'Where is the kettle?', answer: 'In the inn.', rating: 'up', keepAsExample: true };
    const { count } = await client.ok('GET', '/api/corrections');
    await client.ok('POST', '/api/feedback', rating);
    assert.equal((await client.ok('GET', '/api/corrections')).count, count);

    // Nobody asks any more: the page that did was loaded anew. In the other tab it is seen too.
    answer = await held();
    await button('Ask again').click();
    await button('Stop').waitFor();
    await tab.getByRole('button', { name: 'Stop' }).waitFor();
    await page.reload();
    await page.getByText('This answer was cut off.').nth(1).waitFor();
    await tab.getByText('This answer was cut off.').nth(1).waitFor();
    await answer('');
    // The server ends in the middle.
    answer = await held();
    await button('Ask both').click();
    await answer(said('adapted', 'In the inn.') + end('adapted') + said('base', 'Now'));
    await side('Now').getByText('This answer was cut off.').waitFor();
    assert.equal(await page.getByText('This answer was cut off.').count(), 1);
    await phone.show('compared');
    // Stopped from the other tab.
    answer = await held();
    await button('Ask both').click();
    await tab.getByRole('button', { name: 'Stop' }).click();
    await button('Ask both').waitFor();
    await answer(whole);
    await phone.go('settings');
    await phone.go('compare');
    await page.getByText('This answer was cut off.').nth(1).waitFor();
    assert.equal(await side('In the inn.').count(), 0);
    await tab.close();
  });

  it('learns from corrections by one button, beginning with the version in use', async () => {
    const conversation = await converse('Where is the kettle?');
    const { messages } = await client.ok('GET', `/api/conversations/${conversation}`);
    const correction = {
      prompt: 'Where is the kettle?',
      answer: messages[1].content,
      rating: 'down',
      keepAsExample: true,
    };
    const at = { conversation, message: 1, datasetName: 'corrected' };
    await client.ok('POST', '/api/feedback', { ...correction, ...at, correction: 'the kettle is in the inn' });
    const { count } = await client.ok('GET', '/api/corrections');
    await phone.go('data');
    await page.getByText(new RegExp(`^${count} new correction`)).waitFor();
    // Should the run not begin, it can be begun again with what the corrections have become.
    await page.route('**/api/jobs', async (route) => {
      if (route.request().method() !== 'POST') return await route.continue();
      await route.fulfill({ status: 409, json: { error: { message: 'Not now.', code: 'conflict' } } });
    });
    await button(/^Teach them to/).click();
    await page.getByText('Not now.').waitFor();
    await page.unrouteAll({ behavior: 'wait' });
    await button(/^Teach them to/).click();
    await page
      .getByText(/^Stage \d of \d:/)
      .or(page.getByText('It has learnt'))
      .first()
      .waitFor();
    const id = page.url().split('/').at(-1)!;
    const { adapters } = await client.ok('GET', '/api/adapters');
    const learning = await client.ok('GET', `/api/jobs/${id}`);
    const own = adapters.find(({ name }: { name: string }) => name === learning.name);
    assert.equal(learning.start, own.active);
    await client.ok('POST', `/api/jobs/${id}/cancel`, { keep: false });
    assert.equal((await client.ok('GET', '/api/corrections')).count, 0);
  });

  it('says what a run came to in words, with three answers before and after, and the figures folded', async () => {
    await phone.go(`jobs/${job}`);
    await page.locator('.outcome', { hasText: /^It predicts your answers/ }).waitFor();
    assert.ok(!(await page.getByText('Loss on').first().isVisible()));
    await button('Show three answers, before and after').click();
    await page.locator('.pair-answers').nth(2).waitFor();
    await page.locator('.before-after[aria-busy=false]').waitFor();
    assert.equal(await page.locator('.pair-answers .side.adapted').count(), 3);
    await page.locator('summary', { hasText: 'Figures' }).click();
    await page.getByText('Loss on').first().waitFor();
    await phone.show('outcome');
    await page.locator('summary', { hasText: 'Log' }).click();
    await page.locator('.log p', { hasText: 'examples to learn from' }).waitFor();
  });

  it('lets nobody fill in or press what rests on an answer that is not there yet', async () => {
    const conversation = await converse('Slowly');
    /** Opens a place while the server takes its time about this. @returns what lets it answer */
    const slowly = async (path: string, place: string) => {
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      await page.route(path, async (route) => {
        await released;
        await route.continue();
      });
      await phone.go(place);
      return async () => {
        release();
        await page.unrouteAll({ behavior: 'wait' });
      };
    };
    // A run, and what was corrected, might go to another adapter than the one that was chosen.
    let answer = await slowly('**/api/adapters', 'tune');
    await page.locator('.loading').waitFor();
    assert.equal(await button('Tune').count(), 0);
    await answer();
    await button('Tune').waitFor();
    const correction = { prompt: 'Slowly?', answer: 'Quickly.', rating: 'up', keepAsExample: true };
    await client.ok('POST', '/api/feedback', { ...correction, datasetName: 'slow' });
    answer = await slowly('**/api/adapters', 'data');
    await page.locator('.card', { hasText: 'slow' }).waitFor();
    assert.equal(await button('Learn from them').count(), 0);
    await answer();
    await button(/^Teach them to/).waitFor();
    // Typed before the conversation is there, it would be the manner of another one.
    answer = await slowly(`**/api/conversations/${conversation}`, `chat/${conversation}`);
    await button('How it answers').waitFor();
    assert.ok(await button('How it answers').isDisabled());
    assert.equal(await page.getByLabel('Talk to').count(), 0);
    await answer();
    await page.getByLabel('Talk to').waitFor();
    await page.locator('[aria-label="How it answers"]:enabled').waitFor();
    // An example would go to another data set.
    answer = await slowly('**/api/datasets', `chat/${conversation}`);
    await button('Good answer').click();
    await dialog().getByLabel('The answer to learn').fill('Slower.');
    assert.ok(await button('Keep as example').isDisabled());
    await answer();
    await dialog().getByLabel('Add it to').waitFor();
    await page.locator('button:enabled', { hasText: 'Keep as example' }).waitFor();
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    // What was saved stands there at once, also where the list takes its time.
    await phone.go(`adapters/${adapter}`);
    await button('Note').click();
    await dialog().getByLabel('Note').fill('Slower');
    await button('Save').click();
    await dialog().waitFor({ state: 'detached' });
    await button('Note').click();
    assert.equal(await dialog().getByLabel('Note').inputValue(), 'Slower');
    await dialog().getByLabel('Note').fill('');
    await button('Save').click();
    await dialog().waitFor({ state: 'detached' });
  });

  it('finds, renames and saves conversations', async () => {
    const conversation = await converse('Look for the marmalade');
    await phone.go(`chat/${conversation}`);
    await button('Conversations').click();
    await dialog().getByLabel('Search').fill('marmal');
    await phone.until("document.querySelectorAll('dialog .conversations li').length === 1");
    await button(/^Rename the conversation/).click();
    await dialog().getByLabel('Name', { exact: true }).fill('Breakfast');
    await dialog().getByRole('button', { name: 'Rename' }).click();
    await dialog().getByRole('link', { name: 'Breakfast' }).waitFor();
    const [file] = await Promise.all([page.waitForEvent('download'), button(/^Save the conversation/).click()]);
    assert.equal(file.suggestedFilename(), 'Breakfast.md');
    assert.match(readFileSync(await file.path(), 'utf8'), /^# Breakfast\n\n## You\n\nLook for the marmalade/);

    // Where the browser has a share sheet it is offered; what that refuses is saved.
    await page.evaluate(`navigator.canShare = () => true;
      navigator.share = async ({ files: [file] }) => { window.shared = [file.name, await file.text()]; }`);
    await button(/^Save the conversation/).click();
    await page.getByText('The file is not encrypted').waitFor();
    await phone.show('share');
    await button('Share it with another app').click();
    await phone.until("window.shared?.[0] === 'Breakfast.txt' && window.shared[1].includes('marmalade')");
    await page.evaluate("navigator.share = async () => { throw new DOMException('no', 'NotAllowedError'); }");
    await button(/^Save the conversation/).click();
    const saved = page.waitForEvent('download');
    await button('Share it with another app').click();
    assert.equal((await saved).suggestedFilename(), 'Breakfast.txt');
    await page.evaluate('delete navigator.canShare; delete navigator.share');
  });

  it('draws Markdown, and HTML in it as text', async () => {
    const conversation = await converse('Markdown');
    const content = [
      '# Head',
      '**bold** and <img src=x onerror="document.title=1"> `code`',
      '- one\n- two',
      '```ts\nconst x = 1 < 2;\n```',
      '| a | b |\n|---|---|\n| 1 | 2 |',
      '[here](https://example.org/a) and [there](javascript:alert(1)) ![pic](https://example.org/p.png)',
      '<script>document.title = 2</script>',
    ].join('\n\n');
    await page.route(`**/api/conversations/${conversation}`, async (route) => {
      const answer = await route.fetch();
      const whole = (await answer.json()) as { messages: object[] };
      whole.messages[1] = { role: 'assistant', content };
      await route.fulfill({ response: answer, json: whole });
    });
    await phone.go(`chat/${conversation}`);
    const drawn = page.locator('.message.assistant .markdown');
    await drawn.locator('strong', { hasText: 'bold' }).waitFor();
    assert.deepEqual(
      await Promise.all(['li', 'pre code', 'td', 'a', 'img', 'script'].map((one) => drawn.locator(one).count())),
      [2, 1, 2, 1, 0, 0],
    );
    assert.match(
      (await drawn.textContent()) ?? '',
      /<img src=x onerror=.*const x = 1 < 2;.*https:\/\/example\.org\/a.*<script>/s,
    );
    assert.match(await page.title(), /^Chat/);
    await page.evaluate('navigator.clipboard.writeText = async (text) => { window.copied = text; }');
    await button('Copy code').click();
    assert.equal(await page.evaluate('window.copied'), 'const x = 1 < 2;');
    await phone.show('markdown');

    // With the keyboard open half of the window is for what was said.
    for (const percent of [100, 200]) {
      await page.setViewportSize({ width: 360, height: 430 });
      await page.evaluate(`document.documentElement.style.fontSize = '${percent}%'`);
      await page.locator('#composer').focus();
      await page.evaluate('scrollTo(0, 300)');
      const share = await page.evaluate(`(() => {
        let free = 0;
        for (let y = 0; y < innerHeight; y++) if (document.elementFromPoint(180, y)?.closest('.messages')) free++;
        return free / innerHeight;
      })()`);
      assert.ok(Number(share) >= 0.5, `${share} at ${percent} %`);
    }
    await page.evaluate("document.documentElement.style.fontSize = ''");
    await page.setViewportSize({ width: 360, height: 780 });
    await page.unrouteAll({ behavior: 'wait' });
  });

  /** Places, and sheets that are opened there: a table with columns of strange names, a record that cannot be used. */
  const places = () => [
    '',
    'data',
    'data/add',
    `data/${dataset}`,
    'tune',
    `jobs/${job}`,
    'compare',
    'adapters',
    'shared',
  ];
  const sheets: readonly [string, () => Promise<void>][] = [
    [
      'which column is which',
      () => pick('prices.csv', 'Nr;Frage;Antwort\n1;Was kostet es?;Zwei Euro.\n2;Und sonst?;\n'),
    ],
    [
      'a backup',
      async () => {
        await phone.go('settings');
        await button('Make a backup').click();
      },
    ],
    ['who is who', () => pick('WhatsApp Chat with Ben.txt', chat)],
    [
      'what is redacted in answers',
      async () => {
        await phone.go(`data/${dataset}`);
        await button('Redact all').click();
        await dialog().getByRole('radio', { name: 'My words' }).check();
      },
    ],
    [
      'a record to repair',
      async () => {
        await phone.go(`data/${leaky}`);
        await button(/left out: see why$/).click();
        await button(/^Repair/).click();
      },
    ],
  ];
  const chat = '14/05/23, 9:01 - Ben: Open today?\n14/05/23, 9:02 - Anna: Until four.\n14/05/23, 9:03 - Ben: Good.\n';
  const pick = async (name: string, content: string | Buffer) => {
    await phone.go('data/add');
    await page.getByRole('radio', { name: 'Files' }).check();
    await page
      .locator('input[type=file]')
      .setInputFiles({ name, mimeType: '', buffer: Buffer.from(content as string) });
    await dialog().waitFor();
  };
  const closeSheet = async () => {
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
    await settled();
  };
  const axeHere = async (place: string): Promise<string[]> => {
    const found: string[] = [];
    for (const [look, percent] of [
      ['light', 100],
      ['dark', 100],
      ['light', 200],
    ] as const) {
      await page.emulateMedia({ colorScheme: look });
      await page.evaluate(`document.documentElement.style.fontSize = '${percent}%'`);
      await phone.until('!document.getAnimations().some(({ effect }) => effect.getTiming().iterations === 1)');
      const here = (await page.evaluate(
        `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
            violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html.slice(0, 150))))`,
      )) as string[];
      found.push(...here.map((one) => `${place} ${look} ${percent} %: ${one}`));
    }
    await page.evaluate("document.documentElement.style.fontSize = ''");
    await page.emulateMedia({ colorScheme: 'light' });
    return found;
  };

  it('axe finds nothing on any screen, light, dark and at 200 %', async () => {
    const conversation = await converse('Axe');
    const found: string[] = [];
    await page.evaluate(axe);
    for (const place of [...places(), `chat/${conversation}`, `adapters/${adapter}`, 'settings']) {
      await phone.go(place);
      await phone.until("!document.querySelector('main .loading')");
      found.push(...(await axeHere(place)));
    }
    for (const [name, open] of sheets) {
      await open();
      found.push(...(await axeHere(name)));
      await closeSheet();
    }
    assert.deepEqual(found, []);
  });

  const pressableHere = async (place: string): Promise<string[]> => {
    const found: string[] = [];
    for (const [width, height, percent] of [
      [360, 780, 100],
      [360, 780, 150],
      [360, 780, 200],
      [320, 640, 200],
      [360, 430, 100],
      [360, 430, 200],
    ] as const) {
      await page.setViewportSize({ width, height });
      await page.evaluate(`document.documentElement.style.fontSize = '${percent}%'`);
      const here = (await page.evaluate(pressableInPage)) as string[];
      found.push(...here.map((one) => `${place} at ${width} x ${height}, ${percent} %: ${one}`));
    }
    await page.evaluate("document.documentElement.style.fontSize = ''");
    await page.setViewportSize({ width: 360, height: 780 });
    return found;
  };

  it('every control can be pressed at each size of text and window, and no word is broken', async () => {
    const found: string[] = [];
    for (const place of [...places(), 'chat', `adapters/${adapter}`, 'settings']) {
      await phone.go(place);
      await phone.until("!document.querySelector('main .loading')");
      found.push(...(await pressableHere(place)));
    }
    for (const [name, open] of sheets) {
      await open();
      found.push(...(await pressableHere(name)));
      await closeSheet();
    }
    assert.deepEqual(found, []);
  });

  it('speaks the language that is chosen, over a reload, with nothing cut by its longer words', async () => {
    const choose = async (language: string) => {
      await page.locator('select').filter({ hasText: 'Deutsch' }).selectOption(language);
      await phone.until(`document.documentElement.lang === '${language === 'auto' ? 'en' : language}'`);
    };
    const title = (name: string) => page.getByRole('heading', { level: 1, name }).waitFor();
    await title('Settings');
    await choose('de');
    await title('Optionen');
    await page.reload();
    await title('Optionen');
    assert.equal(await page.title(), 'Optionen · Loam');
    const found: string[] = [];
    await page.setViewportSize({ width: 320, height: 640 });
    await page.evaluate("document.documentElement.style.fontSize = '200%'");
    for (const place of [...places(), 'chat', `adapters/${adapter}`, 'settings']) {
      await phone.go(place);
      await phone.until("!document.querySelector('main .loading')");
      const here = (await page.evaluate(pressableInPage)) as string[];
      // Words may be divided: German has long ones, and browsers know where.
      found.push(...here.filter((one) => !one.startsWith('broken')).map((one) => `${place}: ${one}`));
    }
    await page.evaluate("document.documentElement.style.fontSize = ''");
    await page.setViewportSize({ width: 360, height: 780 });
    assert.deepEqual(found, []);
    // What the server says comes by its codes, with its own sentence behind.
    await client.ok('POST', '/api/rules', { onDemand: true });
    const { id } = await client.ok('POST', '/api/jobs', { name: 'wartet', dataset, model: 'tiny' });
    await client.job(id, ({ state }) => state === 'waiting');
    await phone.go(`jobs/${id}`);
    await page.getByText('Es wartet, bis du es startest.').waitFor();
    await page.locator('.run-head .detail summary').click();
    await page.locator('.run-head [lang=en]', { hasText: 'waits until you start it' }).waitFor();
    await phone.show('german');
    await client.ok('POST', `/api/jobs/${id}/cancel`, { keep: false });
    await client.ok('POST', '/api/rules', {});
    await phone.go(`data/${leaky}`);
    await button(/weggelassen: warum\?$/).click();
    await page.getByText('die Frage oder die Antwort ist leer').first().waitFor();
    await phone.go('settings');
    await choose('hi');
    await title('सेटिंग');
    await phone.go('data');
    await title('डेटा');
    await phone.go('settings');
    await choose('auto');
    await title('Settings');
  });

  it('asked no other host for anything, and nothing failed in the page', () => {
    phone.assertAlone(serving);
  });
});
