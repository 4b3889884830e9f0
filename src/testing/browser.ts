import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';

/** A real browser on a real server: what the test of the page needs beside the page. */

const program = fileURLToPath(new URL('../../bin/loam.js', import.meta.url));

/** The browser's program: LOAM_CHROMIUM, or where Debian, Ubuntu and macOS have one. */
export function findChromium(): string | undefined {
  const places = [
    process.env.LOAM_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ];
  return places.find((place) => place !== undefined && existsSync(place));
}

/** Starts the browser, headless and without its own traffic. Its profile is a temporary folder of Playwright's. */
export async function launchChromium(executablePath: string): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  return await chromium.launch({
    executablePath,
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
    ],
  });
}

/** `loam serve` in a process of its own. */
export class Serving {
  private constructor(
    readonly child: ChildProcess,
    readonly link: string,
    readonly port: number,
  ) {}

  static async start(home: string, port = 0): Promise<Serving> {
    const child = spawn(process.execPath, [program, 'serve', '--port', String(port), '--json'], {
      // No test reaches the network by accident: port 9 (discard) refuses.
      env: { ...process.env, LOAM_HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const ready = await new Promise<{ link: string; port: number }>((resolve, reject) => {
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        out += text;
        const line = out.split('\n').find((one) => one.includes('"ready"'));
        if (line) resolve(JSON.parse(line) as { link: string; port: number });
      });
      child.once('exit', (code) => reject(new Error(`loam serve ended with ${code}: ${err}`)));
    });
    return new Serving(child, ready.link, ready.port);
  }

  /** Ends it as a crash would, or as Ctrl-C does; resolves when it has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill(signal);
    await ended;
  }
}

/** Saves a picture of what is in view, light and dark, where LOAM_SCREENSHOTS names a folder. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.LOAM_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), animations: 'disabled' });
  }
}

/** Controls without a name that a screen reader could say, and what is wider than the window. Runs in the page; returns findings. */
export const auditInPage = `(() => {
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
