import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';

/** A real browser on a real server: what the tests of the page need beside the page. */

const loam = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

/** The browser's program: LOAM_CHROMIUM, or where Debian, Ubuntu and macOS have one. */
const program = [
  process.env.LOAM_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
].find((place) => place !== undefined && existsSync(place));

/** Why tests in a browser are left out here, or false. */
export const skipBrowser =
  (process.env.LOAM_BROWSER === '0' && 'LOAM_BROWSER=0') ||
  (program === undefined && 'no Chromium here: install Debian’s package, or name one in LOAM_CHROMIUM');

/** Starts the browser, headless and without its own traffic. Its profile is a temporary folder of Playwright's. */
export async function launchChromium(): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  return await chromium.launch({
    executablePath: program,
    headless: true,
    timeout: 180_000,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // It asks for updates and accounts all the same: it finds no host but this one.
      '--no-proxy-server',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
}

/** `loam serve` in a process of its own. */
export class Serving implements AsyncDisposable {
  private constructor(
    readonly child: ChildProcess,
    readonly link: string,
    readonly port: number,
    readonly token: string,
  ) {}

  static async start(home: string, port = 0): Promise<Serving> {
    const child = spawn(process.execPath, [loam, 'serve', '--port', String(port), '--json'], {
      // No test reaches the network by accident: port 9 (discard) refuses.
      env: { ...process.env, LOAM_HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const ready = await new Promise<{ link: string; port: number; token: string }>((resolve, reject) => {
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        out += text;
        const line = out.split('\n').find((one) => one.includes('"ready"'));
        if (line) resolve(JSON.parse(line) as { link: string; port: number; token: string });
      });
      child.once('exit', (code) => reject(new Error(`loam serve ended with ${code}: ${err}`)));
    });
    return new Serving(child, ready.link, ready.port, ready.token);
  }

  get origin(): string {
    return new URL(this.link).origin;
  }

  /** Ends it as a crash would, or as Ctrl-C does; resolves when it has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL');
  }
}

/** Milliseconds: for answers of a machine that is busy with other things. */
const PATIENCE = 120_000;

/** The page in a browser of its own, at the size of a phone, and what a person does with it. */
export class Phone {
  /** What failed in the page. */
  readonly errors: string[] = [];
  /** Servers that were asked for something. */
  readonly origins = new Set<string>();

  private constructor(
    private readonly context: BrowserContext,
    readonly page: Page,
  ) {
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', (error) => this.errors.push(error.message));
    page.on('console', (message) => {
      // What the server refuses and a server that is gone are errors to the console, and belong to these tests.
      const expected = /Failed to load resource/.test(message.text());
      if (message.type() === 'error' && !expected) this.errors.push(message.text());
    });
    context.on('request', (request) => this.origins.add(new URL(request.url()).origin));
  }

  static async open(browser: Browser, viewport = { width: 360, height: 780 }): Promise<Phone> {
    const context = await browser.newContext({ viewport, hasTouch: true, isMobile: true, acceptDownloads: true });
    return new Phone(context, await context.newPage());
  }

  /** Grants what the browser would ask the person for. */
  async allow(permission: string): Promise<void> {
    await this.context.grantPermissions([permission]);
  }

  /** A second page of the same browser. */
  async tab(address: string): Promise<Page> {
    const page = await this.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.goto(address);
    return page;
  }

  async close(): Promise<void> {
    await this.context.close();
  }

  /** Nothing failed in the page, and no server but its own was asked for anything. */
  assertAlone(serving: Serving): void {
    const own = new URL(serving.link).origin;
    assert.ok(this.origins.has(own));
    assert.deepEqual(
      [...this.origins].filter((origin) => origin !== own && origin !== 'null'),
      [],
    );
    assert.deepEqual(this.errors, []);
  }

  /** Another place in the app, by a link. */
  async go(place: string): Promise<void> {
    await this.page.evaluate(`{
      const link = document.createElement('a');
      link.href = ${JSON.stringify(`#/${place}`)};
      document.body.append(link);
      link.click();
      link.remove();
    }`);
    await this.page.locator('h1').waitFor();
  }

  /** Waits until an expression holds in the page. */
  async until(expression: string): Promise<void> {
    for (const end = Date.now() + PATIENCE; !(await this.page.evaluate(expression)); await sleep(50)) {
      assert.ok(Date.now() < end, expression);
    }
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole('button', { name, exact: typeof name === 'string' });
  }

  /** The dialog on top. */
  dialog(): Locator {
    return this.page.getByRole('dialog').last();
  }

  /** Presses a button that may be gone, because what it would stop has come to its end. @returns whether it was there */
  async pressIfThere(button: Locator): Promise<boolean> {
    return await button.evaluateAll((found) => {
      for (const one of found) (one as unknown as { click(): void }).click();
      return found.length > 0;
    });
  }

  /**
   * Holds what is in view to the rules of `auditInPage`, and saves a picture of it, light and dark, where LOAM_SCREENSHOTS names a
   * folder.
   */
  async show(name: string): Promise<void> {
    assert.deepEqual(await this.page.evaluate(auditInPage), [], name);
    const folder = process.env.LOAM_SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    for (const colorScheme of ['dark', 'light'] as const) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), animations: 'disabled' });
    }
  }
}

/** Controls without a name that a screen reader could say, and what is wider than the window. Runs in the page; returns findings. */
const auditInPage = `(() => {
  const found = [];
  const nameOf = (element) => {
    const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(' ');
    const by = (element.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
    return (element.getAttribute('aria-label') ?? '') + by + labels + (element.matches('input, select, textarea') ? '' : element.textContent);
  };
  for (const element of document.querySelectorAll('a, button, input:not([hidden]), select, textarea, dialog, [role=progressbar], svg[role=img]')) {
    if (nameOf(element).trim() === '') found.push('no name: ' + element.outerHTML.slice(0, 120));
  }
  for (const image of document.querySelectorAll('img:not([alt])')) found.push('no alt: ' + image.outerHTML);
  const headings = [...document.querySelectorAll('h1')];
  if (headings.length !== 1) found.push(headings.length + ' h1');
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push('wider than the window by ' + wide);
  for (const element of document.querySelectorAll('a.button, button, .nav a, select, input[type=text]')) {
    const { width, height } = element.getBoundingClientRect();
    // WCAG 2.2, 2.5.8: 24 px at least; links within text excepted.
    if (width > 0 && !element.matches('.link') && Math.min(width, height) < 24) found.push('small: ' + element.outerHTML.slice(0, 120));
  }
  return found;
})()`;
