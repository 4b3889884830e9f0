// Prints how soon the web app shows something, how soon its main button is there, and the longest block of its thread, in Chromium on a
// processor that is made N times slower (default 4). A first visit, then a second one, which the service worker serves; then the screen of a
// run while a tiny model learns, and again when it is opened afterwards, with all that the run has told.
//
//     npm run build && node bench/firstContent.mjs [N]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launchChromium, Serving } from '../dist/testing/browser.js';
import { addTinyModel, Client, sayings } from '../dist/testing/server.js';

const slower = Number(process.argv[2] ?? 4);
const home = mkdtempSync(join(tmpdir(), 'loam-first-'));
await addTinyModel(home);
const serving = await Serving.start(home);
const browser = await launchChromium();
/** A page on a slow processor, which notes how long its thread was held up. */
async function open(context) {
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: slower });
  await page.addInitScript(() => {
    globalThis.blocks = [];
    new PerformanceObserver((list) =>
      globalThis.blocks.push(...list.getEntries().map(({ duration }) => duration)),
    ).observe({ type: 'longtask', buffered: true });
  });
  return page;
}

const longest = async (page) => Math.round(Math.max(0, ...(await page.evaluate(() => globalThis.blocks))));

try {
  const context = await browser.newContext({ viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true });
  for (const visit of ['first visit', 'second visit']) {
    const page = await open(context);
    let requests = 0;
    page.on('request', () => requests++);
    const began = performance.now();
    await page.goto(serving.link);
    await page.locator('.button.primary').first().waitFor();
    const button = performance.now() - began;
    const content = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    console.log(
      `${visit}: content ${Math.round(content)} ms, main button ${Math.round(button)} ms, longest block ${await longest(page)} ms, ${requests} requests`,
    );
    await page.evaluate('navigator.serviceWorker.ready.then(() => true)');
    await page.close();
  }
  const client = new Client(serving.port, serving.token);
  const { id: dataset } = await client.ok('POST', '/api/datasets?name=sayings', { examples: sayings(60) });
  const options = { method: 'qlora', patience: 999, epochs: 60, runs: 1, threads: 1, replay: 0, skipGeneral: true };
  const { id } = await client.ok('POST', '/api/jobs', { name: 'sayings', dataset, model: 'tiny', options });
  const page = await open(context);
  await page.goto(`${serving.origin}/#/jobs/${id}`);
  await page.locator('.curve path.raw').waitFor({ state: 'attached', timeout: 120_000 });
  await page.evaluate(() => globalThis.blocks.splice(0));
  await page.locator('.result').waitFor({ timeout: 600_000 });
  console.log(`the screen of a run while it learns: longest block ${await longest(page)} ms`);
  await page.evaluate(() => location.assign('#/settings'));
  await page.locator('.models').first().waitFor();
  await page.evaluate(() => globalThis.blocks.splice(0));
  await page.evaluate((where) => location.assign(where), `#/jobs/${id}`);
  await page.locator('.result').waitFor();
  await page.locator('summary').filter({ hasText: 'Log' }).click();
  await page.locator('.log p').nth(20).waitFor();
  console.log(`the same opened afterwards: longest block ${await longest(page)} ms`);
} finally {
  await browser.close();
  await serving.end('SIGKILL');
  rmSync(home, { recursive: true, force: true });
}
