import assert from 'node:assert/strict';
import { copyFileSync, linkSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { PIECE_BYTES } from '../serve/contract/uploads.js';
import { isFinal } from '../serve/jobs/Job.js';
import { launchChromium, Phone, Serving, skipBrowser } from '../testing/browser.js';
import { resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { Client, readEvents } from '../testing/server.js';
import '../testing/realHome.js';

/**
 * The page in a real browser, at the size of a phone, on the real server with the real default model: from a file to a talk with the
 * result. What needs no model is in browserWithoutModel.integration.test.ts. LOAM_SCREENSHOTS names a folder for
 * pictures of the screens. Each test has a browser of its own and makes by the API what it changes; those that need an adapter share one run.
 */

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Where the default model is kept between test runs; fetched once. */
const models = process.env.LOAM_HOME ? resolve(process.env.LOAM_HOME) : join(root, '.cache', 'loam');
const folder = scratchFolder();
/** Milliseconds: for a run, and for what the model writes. */
const tuning = 900_000;

/** Learnt by every answer: what would be an element and a script, were it taken for HTML. */
const mark = '<b>Right then</b><img src=x onerror="document.title=1">';
const mail = 'mara.quill@wheelwright-lane.org';

interface Pair {
  instruction: string;
  input: string;
  output: string;
}

/** Bundled examples with that mark. */
function examples(): Pair[] {
  const all = JSON.parse(readFileSync(join(root, 'assets', 'examples', 'mara-train.json'), 'utf8')) as Pair[];
  const some = Array.from({ length: 48 }, (_, i) => all[Math.floor((i * all.length) / 48)]!);
  const marked = some.map((pair) => ({ ...pair, output: pair.output.replace(/^Right then,?/, mark) }));
  assert.ok(marked.every(({ output }) => output.startsWith(mark)));
  return marked;
}

/** The same, one with somebody's address, and a record that cannot be used. */
function faultyExamples(): Pair[] {
  const records = examples().map((pair, i) =>
    i === 2 ? { ...pair, instruction: `${pair.instruction} My address is ${mail}.` } : pair,
  );
  return records.toSpliced(5, 0, { instruction: 'No answer', input: '', output: '' });
}

/** Of the run, as the form is filled in too. What general examples do is tested elsewhere, in less time. */
const options = { method: 'qlora', rank: 8, epochs: 2, layers: { top: 4 }, runs: 1, replay: 0 };

describe('the page in a browser', { skip: skipBrowser }, () => {
  let browser: Browser;
  let phone: Phone;
  let page: Page;
  let model: string;
  let serving: Serving;
  let client: Client;
  /** The one that the browser is at. */
  let at: Serving;
  const go = (place: string) => phone.go(place);
  const button = (name: string | RegExp) => phone.button(name);
  const dialog = () => phone.dialog();
  const show = (name: string) => phone.show(name);

  const enter = async (place: string, to = serving) => {
    at = to;
    await page.goto(to.link);
    await page.getByRole('heading', { name: /^(Grow your own model|Welcome back)$/ }).waitFor();
    await go(place);
  };

  /** A server on a vault of its own, with the model. */
  const serve = async (home: string) => {
    const kept = join(home, 'models', basename(model));
    mkdirSync(dirname(kept), { recursive: true });
    try {
      linkSync(model, kept);
    } catch {
      copyFileSync(model, kept);
    }
    return await Serving.start(home);
  };

  const addSet = async (name: string, records: Pair[]): Promise<string> =>
    (await client.ok('POST', `/api/datasets?name=${name}`, { examples: records })).id;

  let run: Promise<{ id: string; dataset: string }> | undefined;
  /** The run, begun by whoever needs it first. */
  const begun = () => {
    run ??= (async () => {
      const dataset = await addSet('workshop', examples());
      await client.ok('PATCH', `/api/datasets/${dataset}`, { exclude: [3] });
      const { id } = await client.ok('POST', '/api/jobs', { name: 'workshop', dataset, options });
      return { id, dataset };
    })();
    return run;
  };
  /** What came of it. */
  const trained = async () => {
    const { id, dataset } = await begun();
    const { state, adapter } = await client.job(id, ({ state }) => isFinal(state), tuning);
    assert.equal(state, 'done');
    return { id, dataset, adapter: adapter!.id, version: adapter!.version };
  };
  /** Bytes of an answer. */
  const bytes = async (path: string, init: RequestInit = {}): Promise<Buffer> => {
    const headers = { authorization: `Bearer ${client.token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${client.base}${path}`, { ...init, headers });
    assert.ok(answer.ok, path);
    return Buffer.from(await answer.arrayBuffer());
  };
  const exported = async () => {
    const { adapter, version } = await trained();
    return await bytes(`/api/adapters/${adapter}/versions/${version}/export?confirm=true`);
  };

  before(async () => {
    const fetched = await runLoam(['models', 'get', 'smollm2-135m', '--json'], {
      home: models,
      env: { HF_ENDPOINT: process.env.HF_ENDPOINT },
      limit: 600_000,
    });
    model = resultOf(fetched).path as string;
    serving = await serve(join(folder, 'home'));
    client = new Client(serving.port, serving.token);
    browser = await launchChromium();
  });

  beforeEach(async () => {
    at = serving;
    phone = await Phone.open(browser);
    page = phone.page;
  });

  // It asked no other host for anything, and nothing failed in the page.
  afterEach(async () => {
    try {
      phone.assertAlone(at);
    } finally {
      await phone.close();
    }
  });

  after(async () => {
    await browser?.close();
    await serving?.end('SIGKILL');
  });

  it('opens by the link, whose token leaves the address, and leads on', async () => {
    await page.goto(serving.link);
    await page.getByRole('link', { name: 'Add examples' }).waitFor();
    assert.doesNotMatch(page.url(), /token/);
    assert.equal(await page.evaluate('document.activeElement.tagName'), 'H1');
    await show('start');
    await page.getByRole('link', { name: 'Add examples' }).click();
    await page.getByRole('radio', { name: 'Files' }).waitFor();
  });

  it('takes a file, and marks what cannot be used and what is private', async () => {
    const file = join(folder, 'counter.json');
    writeFileSync(file, JSON.stringify(faultyExamples(), null, 1));
    await enter('data/add');
    await page.getByRole('radio', { name: 'Files' }).check();
    await show('add');
    await page.locator('input[type=file]').setInputFiles(file);
    await page.locator('.example').first().waitFor();
    assert.match(await page.locator('main').innerText(), /48 examples/);
    await page.getByText(/^\d+ examples? contains? private details/).waitFor();
    await show('examples');
    await page.getByRole('radio', { name: /Problems/ }).check();
    await page.getByRole('heading', { name: '1 record left out' }).waitFor();
    assert.match(await page.locator('.remarks').innerText(), /the answer .*line \d+/s);
  });

  it('shows what is learnt', async () => {
    await enter(`data/${await addSet('shown', examples())}`);
    await button('Preview').click();
    await page.locator('mark.learnt').first().waitFor();
    assert.ok((await page.locator('mark.learnt').first().innerText()).includes(mark));
    await show('preview');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    // The focus is back at what opened the dialog.
    assert.match(String(await page.evaluate('document.activeElement.textContent')), /Preview/);
  });

  it('redacts, leaves out and edits examples', async () => {
    await enter(`data/${await addSet('edited', faultyExamples())}`);
    await page.getByRole('radio', { name: /Private/ }).check();
    await page.locator('.example').filter({ hasText: mail }).click();
    await page.locator('mark', { hasText: mail }).waitFor();
    await show('private');
    await dialog().getByRole('button', { name: 'Redact E-mail address' }).click();
    await page.locator('.example').filter({ hasText: mail }).waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
    await page.getByRole('radio', { name: /All/ }).check();
    await page.locator('.example', { hasText: '[email 1]' }).waitFor();
    assert.equal(await page.locator('main', { hasText: mail }).count(), 0);

    await page.locator('.example').nth(3).click();
    await button('Leave it out').click();
    await button('Include it again').waitFor();
    await button('Edit').click();
    await dialog().locator('textarea').last().fill(`${mark} It is edited.`);
    await button('Save').click();
    await dialog().getByText('It is edited.').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.example.excluded', { hasText: 'It is edited.' }).waitFor();
    assert.match(await page.locator('.lead').innerText(), /48 examples, 1 left out/);
  });

  it('tells what a run takes, says what does not fit, and starts it', async () => {
    const set = await addSet('tuned', examples());
    await enter(`data/${set}`);
    await page.getByRole('link', { name: 'Tune' }).first().click();
    await page.getByText(/^At most: tuning ends earlier/).waitFor();
    assert.match(await page.locator('.figures').first().innerText(), /Memory\s+[\d.]+ [MG]B/);
    await page.locator('summary', { hasText: 'More options' }).click();
    await page.getByLabel('Rank', { exact: true }).fill('0');
    await page.getByText('A whole number from 1 to 512.').waitFor();
    assert.ok(await button('Tune').isDisabled());
    await page.getByLabel('Rank', { exact: true }).fill('8');
    await page.getByLabel('Method', { exact: true }).selectOption('qlora');
    await page.getByLabel('Epochs', { exact: true }).fill('2');
    const layers = page.getByLabel('Layers', { exact: true });
    assert.match(String(await layers.getAttribute('aria-valuetext')), /^The top 20 of 30 layers$/);
    await layers.fill('5');
    await layers.press('ArrowLeft');
    assert.equal(await layers.getAttribute('aria-valuetext'), 'The top 4 of 30 layers');
    await button('Back to automatic').waitFor();
    await page.locator('summary', { hasText: 'All other options' }).click();
    await page.getByLabel('Runs', { exact: true }).fill('1');
    await page.getByLabel('Hold on to what it knew', { exact: true }).fill('0');
    await page.getByText(/^At most: tuning ends earlier/).waitFor();
    await page.getByText(/^The top 4 of 30 layers: .*, [\d.]+ [MG]B of memory$/).waitFor();
    await layers.scrollIntoViewIfNeeded();
    await show('layers');
    await page.evaluate('scrollTo(0, 0)');
    await show('tune');
    await button('Tune').click();
    await page.getByRole('heading', { name: 'Learning curve' }).waitFor();
    const job = page.url().split('/').at(-1)!;
    const started = await client.job(job, ({ state }) => state !== 'queued');
    assert.deepEqual([started.state, started.dataset, started.options], ['running', set, options]);
    await client.ok('POST', `/api/jobs/${job}/cancel`, { keep: false });
  });

  it('keeps up with the run after a reload in the middle of it', async () => {
    await enter(`jobs/${(await begun()).id}`);
    const step = async () => Number(/Step\s+([\d,]+) of/.exec(await page.locator('main').innerText())?.[1] ?? 0);
    await page.getByText(/^\d+ of \d+$/).waitFor({ timeout: tuning });
    const before = await step();
    assert.ok(before > 0);
    await page.reload();
    await page.getByText(/^\d+ of \d+$/).waitFor({ timeout: tuning });
    assert.ok((await step()) >= before);
    await page.locator('.curve path.raw').waitFor({ state: 'attached' });
    await page.locator('.curve .checked-dot').first().waitFor({ state: 'attached', timeout: tuning });
    await show('progress');
    await page.getByRole('heading', { name: 'It has learnt' }).waitFor({ timeout: tuning });
    assert.match(
      await page.locator('.outcome').innerText(),
      /^It predicts your answers .* (as well as|better than) before/,
    );
    await page.locator('.result summary', { hasText: 'Figures' }).click();
    const [, base, adapted] = /Base model\s+([\d.]+)\s+With your adapter\s+([\d.]+)/.exec(
      await page.locator('.result').innerText(),
    )!;
    assert.ok(Number(adapted) < Number(base), `${adapted} after, ${base} before`);
    await show('result');
  });

  it('answers as it has learnt, HTML as text; what was said stays', async () => {
    await enter(`jobs/${(await trained()).id}`);
    await page.getByRole('link', { name: 'Talk to it' }).click();
    // The likeliest answer, not one by chance.
    await button('How it answers').click();
    await dialog().getByLabel('Liveliness').fill('0');
    await button('Done').click();
    await page.getByLabel('Message', { exact: true }).fill('When are you open?');
    await button('Send').click();
    const answer = page.locator('.message.assistant .markdown').first();
    await answer.filter({ hasText: /.{12}/ }).waitFor({ timeout: tuning });
    // It may have finished by now.
    await phone.pressIfThere(button('Stop the answer'));
    await page.locator('.message.assistant .feedback').waitFor({ timeout: tuning });
    await button('Send').waitFor({ state: 'visible' });
    const said = (await answer.textContent()) ?? '';
    // It has learnt to begin with an element, which is text here; its letters differ between processors.
    assert.match(said, /<(b|img)\b/i);
    assert.equal(await page.locator('.message.assistant').locator('b, img, script').count(), 0);
    assert.match(await page.title(), /^Chat/);
    await show('chat');
    await page.reload();
    await page.locator('.message.assistant', { hasText: said.slice(0, 12) }).waitFor();
    assert.match(await page.locator('.message.user').innerText(), /When are you open/);
  });

  it('makes an example of an answer, if the person agrees', async () => {
    const { dataset, version } = await trained();
    const body = { version, message: 'When are you open?', options: { maxTokens: 24, temperature: 0 } };
    const [first] = await readEvents(client, '/api/chat', { method: 'POST', body });
    const { name, examples: before } = await client.ok('GET', `/api/datasets/${dataset}`);
    await enter(`chat/${first!.data.conversation}`);
    await button('Good answer').click();
    await dialog().getByLabel('The answer to learn').fill(`${mark} From eight till four.`);
    await show('feedback');
    await button('Keep as example').click();
    await page.getByText('kept for the next tuning', { exact: true }).waitFor();
    await go('data');
    const card = page.locator('.card', { hasText: name });
    await card.filter({ hasText: `${before + 1} examples` }).waitFor();
  });

  it('compares with the base model', async () => {
    await enter(`compare/${(await trained()).version}`);
    await page.getByLabel('Question', { exact: true }).fill('Where is the workshop?');
    await button('Ask both').click();
    // More than its beginning.
    const filled = (side: number) =>
      page.locator('.side').nth(side).locator('.answer', { hasText: /.{9}/s }).waitFor({ timeout: tuning });
    await filled(1);
    await filled(0);
    await phone.pressIfThere(button('Stop'));
    await button('Ask both').waitFor({ timeout: tuning });
    assert.equal(await page.locator('.side .answer').locator('b, img, script').count(), 0);
    await show('compare');
  });

  it('exports after saying what was memorised, and imports', async () => {
    await client.ok('POST', '/api/adapters/import?name=carried', await exported());
    await enter('adapters');
    await show('adapters');
    await page.locator('.card', { hasText: 'workshop' }).click();
    await button('Export').waitFor();
    const testing = page.getByRole('progressbar', { name: 'Test for private details' });
    await testing.waitFor({ state: 'detached', timeout: tuning });
    await button('Export').click();
    await dialog().getByText('The file is not encrypted').waitFor();
    await show('export');
    // Tested at the end of its run: one that gives private details away, or was not tried for all, asks for a promise.
    const verdict = dialog().locator('.note strong').first();
    const risky = !/^Tested/.test(await verdict.innerText());
    const agree = dialog().getByRole('checkbox');
    const confirm = dialog().getByRole('button', { name: 'Export' });
    assert.equal(await agree.count(), risky ? 1 : 0);
    if (risky) await agree.check();
    const [download] = await Promise.all([page.waitForEvent('download'), confirm.click()]);
    const file = join(folder, 'carried.gguf');
    renameSync(await download.path(), file);
    assert.equal(readFileSync(file).toString('latin1', 0, 4), 'GGUF');
    await page.getByRole('dialog').waitFor({ state: 'detached' });

    await go('adapters');
    await page.locator('input[type=file]').setInputFiles(file);
    await page.getByRole('heading', { name: 'Version 2' }).waitFor();

    // Nobody knows what an imported one has memorised.
    await button('Export').first().click();
    await dialog().getByText('Not tested for private details.').waitFor();
    assert.ok(await confirm.isDisabled());
    await agree.check();
    assert.ok(await confirm.isEnabled());
    await page.keyboard.press('Escape');
  });

  it('rolls back to an earlier version and to the base model, in every browser that looks', async () => {
    const file = await exported();
    const add = () => client.ok('POST', '/api/adapters/import?name=rolled', file);
    await add();
    await add();
    const { adapters } = await client.ok('GET', '/api/adapters');
    await enter(`adapters/${adapters.find(({ name }: { name: string }) => name === 'rolled').id}`);
    const other = await Phone.open(browser, { width: 1200, height: 800 });
    const { page: second } = other;
    await second.goto(serving.link);
    await second.goto(`${new URL(serving.link).origin}/#/adapters`);
    const card = (says: string) => second.locator('.card', { hasText: 'rolled' }).filter({ hasText: says });
    await card('version 2 in use').waitFor();

    const used = page.locator('.layer.used');
    await used.getByRole('heading', { name: 'Version 2' }).waitFor();
    await button(/^Roll back to it\s*, version 1$/).click();
    await used.getByRole('heading', { name: 'Version 1' }).waitFor();
    await card('version 1 in use').waitFor();
    await show('versions');
    await button('Use no version').click();
    await used.getByRole('heading', { name: 'Base model' }).waitFor();
    await card('no version in use').waitFor();
    await button(/^Use it\s*, version 2$/).click();
    await used.getByRole('heading', { name: 'Version 2' }).waitFor();
    other.assertAlone(serving);
    await other.close();

    await button('Note').first().click();
    await dialog().getByLabel('Note', { exact: true }).fill('Kinder in tone.');
    await button('Save').click();
    await page.getByText('Kinder in tone.').waitFor();
  });

  it('deletes a set with the adapters made from it, and then everything', async () => {
    // In a copy of the vault, where it takes nothing from other tests.
    const { dataset } = await trained();
    const file = await exported();
    const passphrase = 'nine brown loaves';
    const backup = await bytes('/api/vault/backup', { method: 'POST', body: JSON.stringify({ passphrase }) });
    await using copy = await serve(join(folder, 'copy'));
    const there = new Client(copy.port, copy.token);
    const whole = { purpose: 'backup', name: 'loam.age', bytes: backup.length };
    const { id: upload } = await there.ok('POST', '/api/uploads', whole);
    for (let offset = 0; offset < backup.length; offset += PIECE_BYTES) {
      await there.ok('POST', `/api/uploads/${upload}?offset=${offset}`, backup.subarray(offset, offset + PIECE_BYTES));
    }
    await there.ok('POST', '/api/vault/restore', { upload, passphrase });
    await there.ok('POST', '/api/adapters/import?name=workshop', file);
    const { datasets } = await there.ok('GET', '/api/datasets');
    for (const { id } of datasets) if (id !== dataset) await there.ok('DELETE', `/api/datasets/${id}?adapters=keep`);
    const body = { message: 'Are you there?', options: { maxTokens: 4 } };
    await readEvents(there, '/api/chat', { method: 'POST', body });
    await enter('data', copy);
    await page.locator('.card', { hasText: 'workshop' }).click();
    await button('Delete the data set').click();
    await dialog().getByText('workshop, version 1').waitFor();
    await dialog().getByRole('checkbox').check();
    await show('delete');
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await page.getByText('No examples yet').waitFor();
    await go('adapters');
    // The imported version knows of no data set.
    await page.locator('.card', { hasText: 'workshop' }).filter({ hasText: '1 version ' }).waitFor();

    await go('settings');
    await page.getByRole('heading', { name: 'Storage' }).waitFor();
    await show('settings');
    await button('Delete everything').click();
    assert.ok(await dialog().getByRole('button', { name: 'Delete everything' }).isDisabled());
    await dialog().getByRole('textbox').fill('delete everything');
    await dialog().getByRole('button', { name: 'Delete everything' }).click();
    await page.getByRole('link', { name: 'Add examples' }).waitFor();
    await go('adapters');
    await page.getByText('No adapters yet').waitFor();
    await go('chat');
    await button('Conversations').click();
    await dialog().getByText('No conversations yet.').waitFor();
  });
});
