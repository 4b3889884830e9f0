import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, Phone, Serving, skipBrowser } from '../testing/browser.js';
import { buildZip } from '../testing/buildZip.js';
import { pressableInPage } from '../testing/pressable.js';
import { scratchFolder } from '../testing/scratch.js';
import { Client } from '../testing/server.js';
import { writeTinyModel } from '../testing/tinyModel.js';

/**
 * The page in a real browser where no model is needed: examples typed and texts edited, who may come in (token, passphrase), a server
 * that goes away and comes back, light and dark. Each test has a browser of its own, and a server too where it ends it or changes all.
 */

const newHome = () => join(scratchFolder(), 'home');

describe('the page in a browser, without a model', { skip: skipBrowser }, () => {
  let browser: Browser;
  let phone: Phone;
  let page: Page;
  let serving: Serving;
  /** The one that the browser is at. */
  let at: Serving;

  const enter = async (place: string, to = serving) => {
    at = to;
    await page.goto(to.link);
    await page.getByRole('heading', { name: 'Grow your own model' }).waitFor();
    await phone.go(place);
  };

  /** @returns its id */
  const addSet = async (name: string, output: string, to = serving): Promise<string> => {
    const examples = [{ instruction: 'When do you close?', output }];
    return (await new Client(to.port, to.token).ok('POST', `/api/datasets?name=${name}`, { examples })).id;
  };

  /** Every control within reach and no word broken at the narrowest window and the largest text. */
  const fitsSmall = async (on = page) => {
    await on.setViewportSize({ width: 320, height: 640 });
    await on.evaluate("document.documentElement.style.fontSize = '200%'");
    assert.deepEqual(await on.evaluate(pressableInPage), []);
    await on.evaluate("document.documentElement.style.fontSize = ''");
    await on.setViewportSize({ width: 360, height: 780 });
  };

  before(async () => {
    serving = await Serving.start(newHome());
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

  it('takes examples that are typed, one after another', async () => {
    // An address that was cut off.
    await enter('%');
    await page.getByRole('heading', { name: 'Grow your own model' }).waitFor();
    await phone.go('data/add');
    await page.getByRole('radio', { name: 'Type' }).check();
    assert.ok(await phone.button('Save').isDisabled());
    await page.getByLabel('Someone asks').fill('When are you open?');
    await page.getByLabel('You answer').fill('From eight till four.');
    await phone.button('Add another').click();
    await page.getByRole('group', { name: 'Example 2' }).waitFor();
    await page.getByLabel('Someone asks').fill('Where is the workshop?');
    await page.getByLabel('You answer').fill('Behind the mill.');
    await phone.button('Save 2 examples').click();
    await page.getByRole('heading', { name: 'Typed examples' }).waitFor();
    await page.locator('.example').filter({ hasText: 'Behind the mill.' }).waitFor();
  });

  it('says what to do with a spreadsheet, and has sample data to try with', async () => {
    await enter('data/add');
    await page.getByRole('radio', { name: 'Files' }).check();
    const name = 'orders.xlsx';
    await page.locator('input[type=file]').setInputFiles({ name, mimeType: '', buffer: Buffer.from('PK') });
    await page.getByText('save the sheet as CSV').waitFor();
    await page.route('**/api/datasets', async (route) => {
      if (route.request().method() === 'GET') await route.fulfill({ json: { datasets: [] } });
      else await route.continue();
    });
    await phone.go('data');
    await phone.button('Try it with sample data').click();
    await page.getByRole('heading', { name: 'Sample: a bicycle workshop' }).waitFor();
    await page.locator('.example').first().waitFor();
    await page.unrouteAll({ behavior: 'wait' });
  });

  it('takes a text, and edits it by paragraphs', async () => {
    await enter('data/add');
    const paragraphs = ['# Notes', 'The kettle is always on in the workshop.', 'We close when the light goes.'];
    await page.locator('input[type=file]').setInputFiles({
      name: 'notes.md',
      mimeType: 'text/markdown',
      buffer: Buffer.from(paragraphs.join('\n\n')),
    });
    await page.getByRole('heading', { name: 'notes' }).waitFor();
    await page.locator('.example').filter({ hasText: 'when the light goes' }).click();
    await phone.button('Edit').click();
    await phone.dialog().getByLabel('The text').fill('We close at four.');
    await phone.button('Save').click();
    await phone.dialog().getByText('We close at four.').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.example').filter({ hasText: 'We close at four.' }).waitFor();
    await page.locator('.example').filter({ hasText: 'The kettle is always on' }).waitFor();
  });

  it('shows what another app shares, and adds it only when the person says so', async () => {
    await addSet('hours', 'We close at four.');
    await enter('data');
    await page.evaluate('navigator.serviceWorker.ready.then(() => true)');
    // A share and the form of any web page look alike: neither adds anything.
    const other = await phone.tab('about:blank');
    const share = async (file?: string | Buffer, name = 'wheels.csv') => {
      await other.goto('about:blank');
      await other.setContent(`<form method="post" enctype="multipart/form-data" action="${serving.origin}/share">
        <input name="title" value="From the mill"><input name="text" value="Which wheel?"><input type="file" name="file"></form>`);
      const buffer = Buffer.from((file ?? '') as string);
      if (file) await other.locator('[type=file]').setInputFiles({ name, mimeType: '', buffer });
      await other.evaluate("document.querySelector('form').submit()");
      await other.getByRole('heading', { name: 'Shared with Loam' }).waitFor();
    };
    await page.locator('main .card').first().waitFor();
    const sets = await page.locator('main .card').count();
    await share();
    await other.getByText('Which wheel?').waitFor();
    await other.getByRole('button', { name: 'Discard' }).click();
    await other.getByRole('heading', { name: 'Data', exact: true }).waitFor();
    await other.locator('main .card').first().waitFor();
    assert.equal(await other.locator('main .card').count(), sets);
    await share('question,answer\nWhich wheel?,The big one.\n');
    await other.getByText('The big one.').waitFor();
    await fitsSmall(other);
    await other.getByRole('button', { name: 'Add 1 file to the data' }).click();
    await other.getByRole('heading', { name: 'wheels' }).waitFor();
    await other.locator('.example').filter({ hasText: 'The big one.' }).waitFor();
    // A chat with its pictures, as messengers share it.
    const chat = '14/05/23, 9:01 - Ben: Open today?\n14/05/23, 9:02 - Anna: Until four.\n';
    await share(buildZip([{ name: 'WhatsApp Chat with Ben.txt', data: Buffer.from(chat), method: 8 }]), 'Ben.zip');
    await other.getByRole('button', { name: 'Add 1 file to the data' }).click();
    await other.getByLabel('You are').selectOption('Anna');
    await other.getByRole('button', { name: 'Add 1 example' }).click();
    await other.locator('.example').filter({ hasText: 'Until four.' }).waitFor();
    await other.goto(`${serving.origin}/#/shared`);
    await other.reload();
    await other.getByText('There is nothing here any more.').waitFor();
    // A frame gets nothing in, and without the service worker the server takes no such thing either.
    const refused = await fetch(`${serving.origin}/share`, { method: 'POST', body: new FormData() });
    assert.ok(refused.status >= 400);
    await other.close();
    await phone.go('data');
    await page.locator('main .card').filter({ hasText: 'hours' }).click();
    await page.locator('.example').filter({ hasText: 'We close at four.' }).waitFor();
  });

  it('opens without its server, says so, and reconnects when it is back', async () => {
    const home = newHome();
    await using first = await Serving.start(home);
    await enter(`data/${await addSet('hours', 'We close at four.', first)}`, first);
    await page.locator('.example').filter({ hasText: 'We close at four.' }).waitFor();
    const gone = page.getByText('server is not responding');
    await page.evaluate('navigator.serviceWorker.ready.then(() => true)');
    await first.end('SIGKILL');
    await gone.waitFor();
    await page.reload();
    await gone.waitFor();
    await phone.show('gone');
    await using _ = await Serving.start(home, first.port);
    await gone.waitFor({ state: 'detached' });
    await page.locator('.example').filter({ hasText: 'We close at four.' }).waitFor();
  });

  it('is light or dark as the device says, unless the person chose', async () => {
    const background = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const [light, dark] = ['rgb(246, 240, 228)', 'rgb(23, 18, 14)'];
    await enter('settings');
    for (const [choice, onLight, onDark] of [
      ['System', light, dark],
      ['Light', light, light],
      ['Dark', dark, dark],
    ] as const) {
      await page.getByRole('radio', { name: choice }).check();
      await page.emulateMedia({ colorScheme: 'light' });
      assert.equal(await background(), onLight, choice);
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.equal(await background(), onDark, choice);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.reload();
    await page.getByRole('radio', { name: 'Dark', checked: true }).waitFor();
    assert.equal(await background(), dark);
    await page.getByRole('radio', { name: 'System' }).check();
    assert.equal(await background(), light);
  });

  it('is saved as one encrypted file, and restored from it once all of it was checked', async () => {
    await using own = await Serving.start(newHome());
    await addSet('hours', 'We close at four.', own);
    await addSet('days', 'Never on Sundays.', own);
    await enter('settings', own);
    await phone.button('Make a backup').click();
    const dialog = phone.dialog();
    await dialog.getByLabel('Passphrase of the backup').fill('1234');
    await dialog.getByText('At least 8 characters.').waitFor();
    await dialog.getByLabel('Passphrase of the backup').fill('six quiet wooden boats');
    await dialog.getByLabel('Repeat it').fill('six quiet wooden boats');
    await phone.show('backup');
    await fitsSmall();
    const save = dialog.getByRole('button', { name: 'Save the backup' });
    const [file] = await Promise.all([page.waitForEvent('download'), save.click()]);
    assert.match(file.suggestedFilename(), /^loam-.*\.backup\.age$/);
    const bytes = readFileSync(await file.path());
    await phone.until("!document.querySelector('dialog[open]')");
    await phone.go('data');
    await page.locator('main .card').nth(1).waitFor();
    const sets = await page.locator('main .card').count();

    const restore = async (buffer: Buffer) => {
      await phone.go('settings');
      await page.getByLabel('Backup to restore').setInputFiles({ name: 'loam.backup.age', mimeType: '', buffer });
      await dialog.getByLabel('Passphrase of the backup').fill('six quiet wooden boats');
      await dialog.getByRole('button', { name: 'Restore' }).click();
    };
    await restore(bytes);
    await dialog.getByText('would be replaced').waitFor();
    const confirm = dialog.getByRole('button', { name: 'Restore' });
    assert.ok(await confirm.isDisabled());
    await dialog.getByLabel('Delete everything that is here').check();
    await phone.show('restore');
    await fitsSmall();
    await confirm.click();
    await phone.until("!document.querySelector('dialog[open]')");
    await phone.go('data');
    await page
      .locator('main .card')
      .nth(sets - 1)
      .waitFor();
    bytes[bytes.length >> 1]! ^= 1;
    await restore(bytes);
    await dialog.getByLabel('Delete everything that is here').check();
    await confirm.click();
    await dialog.getByText('is damaged or not whole').waitFor();
    await page.keyboard.press('Escape');
    await phone.go('data');
    await page
      .locator('main .card')
      .nth(sets - 1)
      .waitFor();
  });

  it('is locked by a passphrase', async () => {
    const home = newHome();
    await using first = await Serving.start(home);
    await enter('settings', first);
    await phone.button('Set a passphrase').click();
    const dialog = phone.dialog();
    await dialog.getByLabel('New passphrase').fill('1234');
    await dialog.getByText('Easy to guess').waitFor();
    await dialog.getByLabel('New passphrase').fill('nine brown loaves');
    await dialog.getByLabel('Repeat it').fill('nine brown loave');
    await page.getByText('The two do not match.').waitFor();
    const confirm = dialog.getByRole('button', { name: 'Set passphrase' });
    assert.ok(await confirm.isDisabled());
    await dialog.getByLabel('Repeat it').fill('nine brown loaves');
    await confirm.click();
    await phone.button('Change the passphrase').waitFor();

    await first.end('SIGTERM');
    await using _ = await Serving.start(home, first.port);
    await page.reload();
    const passphrase = page.getByLabel('Passphrase', { exact: true });
    await passphrase.fill('nine white loaves');
    await phone.show('locked');
    await phone.button('Unlock').click();
    await page.locator('.field-error').waitFor();
    await passphrase.fill('nine brown loaves');
    await phone.button('Unlock').click();
    await page.getByRole('heading', { name: 'Protection' }).waitFor();
    await phone.button('Lock now').click();
    await page.getByRole('heading', { name: 'Unlock Loam' }).waitFor();
    await passphrase.fill('nine brown loaves');
    await phone.button('Unlock').click();
    await page.getByRole('heading', { name: 'Protection' }).waitFor();
    const kept = page.waitForResponse('**/api/vault/idle');
    await page.getByLabel('Lock by itself').selectOption({ label: 'After 5 minutes' });
    await kept;
    await page.reload();
    await phone.until("document.querySelector('select')?.selectedOptions[0]?.label === 'After 5 minutes'");
    await fitsSmall();
  });

  it('takes a model file of the device where there is no network, and says which model suits it', async () => {
    await enter('settings');
    await page
      .getByText(/of memory while it learns/)
      .first()
      .waitFor();
    await phone.go('');
    await page.evaluate(
      "Object.defineProperty(navigator, 'onLine', { get: () => false }); dispatchEvent(new Event('offline'))",
    );
    await page.getByText('There is no network now').waitFor();
    await phone.show('no-network');
    await fitsSmall();
    const file = page.getByLabel('Model file');
    await file.setInputFiles({ name: 'notes.gguf', mimeType: '', buffer: Buffer.from('no model') });
    await page.getByText('does not begin with').waitFor();
    await file.setInputFiles(await writeTinyModel(join(scratchFolder(), 'From the card.gguf')));
    await page.getByText('from-the-card is installed.').waitFor();
  });

  it('without the token nothing is shown', async () => {
    await page.goto(serving.origin);
    await page.getByRole('heading', { name: 'Open Loam' }).waitFor();
    await page.getByLabel('Link or token').fill(`${serving.link}x`);
    await phone.button('Connect').click();
    await page.locator('.field-error').waitFor();
    await page.getByLabel('Link or token').fill(serving.link);
    await phone.button('Connect').click();
    await page.getByRole('heading', { name: 'Grow your own model' }).waitFor();
  });
});
