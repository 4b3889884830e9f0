import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, Phone, Serving, skipBrowser } from '../testing/browser.js';
import { scratchFolder } from '../testing/scratch.js';

/**
 * The page in a real browser where no model is needed: examples typed and texts edited, who may come in (token, passphrase), a server
 * that goes away and comes back, light and dark.
 */

const home = join(scratchFolder(), 'home');

describe('the page in a browser, without a model', { skip: skipBrowser }, () => {
  let browser: Browser;
  let phone: Phone;
  let page: Page;
  let serving: Serving;

  before(async () => {
    serving = await Serving.start(home);
    browser = await launchChromium();
    phone = await Phone.open(browser);
    page = phone.page;
    await page.goto(serving.link);
    await page.getByRole('heading', { name: 'Grow your own model' }).waitFor();
  });

  after(async () => {
    await browser?.close();
    await serving?.end('SIGKILL');
  });

  it('takes examples that are typed, one after another', async () => {
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

  it('takes a text, and edits it by paragraphs', async () => {
    await phone.go('data/add');
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

  it('opens without its server, says so, and reconnects when it is back', async () => {
    const { port } = serving;
    const gone = page.getByText('server is not responding');
    await page.evaluate('navigator.serviceWorker.ready.then(() => true)');
    await serving.end('SIGKILL');
    await gone.waitFor();
    await page.reload();
    await gone.waitFor();
    await phone.show('gone');
    serving = await Serving.start(home, port);
    await gone.waitFor({ state: 'detached' });
    await page.locator('.example').filter({ hasText: 'We close at four.' }).waitFor();
  });

  it('is light or dark as the device says, unless the person chose', async () => {
    const background = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const [light, dark] = ['rgb(246, 240, 228)', 'rgb(23, 18, 14)'];
    await phone.go('settings');
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

  it('is locked by a passphrase', async () => {
    await phone.button('Set a passphrase').click();
    const dialog = phone.dialog();
    await dialog.getByLabel('New passphrase').fill('nine brown loaves');
    await dialog.getByLabel('Repeat it').fill('nine brown loave');
    await page.getByText('The two do not match.').waitFor();
    const confirm = dialog.getByRole('button', { name: 'Set passphrase' });
    assert.ok(await confirm.isDisabled());
    await dialog.getByLabel('Repeat it').fill('nine brown loaves');
    await confirm.click();
    await phone.button('Change the passphrase').waitFor();

    const { port } = serving;
    await serving.end('SIGTERM');
    serving = await Serving.start(home, port);
    await page.reload();
    const passphrase = page.getByLabel('Passphrase', { exact: true });
    await passphrase.fill('nine white loaves');
    await phone.show('locked');
    await phone.button('Unlock').click();
    await page.locator('.field-error').waitFor();
    await passphrase.fill('nine brown loaves');
    await phone.button('Unlock').click();
    await page.getByRole('heading', { name: 'Protection' }).waitFor();
  });

  it('without the token nothing is shown', async () => {
    const stranger = await Phone.open(browser);
    const { page: door } = stranger;
    await door.goto(new URL(serving.link).origin);
    await door.getByRole('heading', { name: 'Open Loam' }).waitFor();
    await door.getByLabel('Link or token').fill(`${serving.link}x`);
    await stranger.button('Connect').click();
    await door.locator('.field-error').waitFor();
    await door.getByLabel('Link or token').fill(serving.link);
    await stranger.button('Connect').click();
    await door.getByRole('heading', { name: 'Grow your own model' }).waitFor();
    await stranger.close();
  });

  it('asked no other host for anything, and nothing failed in the page', () => {
    phone.assertAlone(serving);
  });
});
