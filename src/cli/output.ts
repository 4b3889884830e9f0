import { duration } from '../base/format.js';

/** Milliseconds between two redraws of the progress line. */
const redrawMs = 100;
/** Without a terminal a progress line is printed each time this share more is done. */
const plainStep = 0.1;
/** Share done before a remaining time is shown: earlier ones jump about. */
const etaFrom = 0.03;

/**
 * Where a command speaks: people read stderr, programs read JSON lines on stdout with --json. Progress is a bar that redraws itself
 * on a terminal and plain lines elsewhere.
 */
export class Output {
  private readonly tty: boolean;
  private bar: { label: string; started: number; from: number; drawn: number; shown: number } | undefined;

  constructor(
    readonly json: boolean,
    private readonly stdout: NodeJS.WritableStream & { columns?: number } = process.stdout,
    private readonly stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number } = process.stderr,
  ) {
    this.tty = Boolean(stderr.isTTY) && !json && process.env.TERM !== 'dumb';
  }

  /** One line for people. */
  line(text = ''): void {
    this.endProgress();
    this.stderr.write(`${text}\n`);
  }

  /** One JSON object for programs; nothing without --json. */
  event(object: object): void {
    if (this.json) this.stdout.write(`${JSON.stringify(object)}\n`);
  }

  /** A piece of what people may read beside the product: stderr, dim on a terminal. */
  aside(text: string): void {
    this.endProgress();
    this.stderr.write(this.tty ? `\x1b[2m${text}\x1b[22m` : text);
  }

  /** The command's product itself, such as an answer: stdout. */
  text(text: string): void {
    this.endProgress();
    this.stdout.write(text);
  }

  /** Shows how far a piece of work is; `done` and `total` in any unit. */
  progress(label: string, done: number, total: number): void {
    if (this.json || total <= 0) return;
    const now = performance.now();
    const share = Math.min(1, done / total);
    if (this.bar?.label !== label) {
      this.endProgress();
      // A bar that a line interrupted, or that continues an earlier process, is partly done when it appears.
      this.bar = { label, started: now, from: share, drawn: 0, shown: Math.floor(share / plainStep) * plainStep };
    }
    const bar = this.bar!;
    const elapsed = (now - bar.started) / 1000;
    const since = share - bar.from;
    const left = since >= etaFrom && share < 1 ? `, ${duration((elapsed * (1 - share)) / since)} left` : '';
    if (this.tty) {
      if (now - bar.drawn < redrawMs && share < 1) return;
      bar.drawn = now;
      const width = Math.max(10, Math.min(30, (this.stderr.columns ?? 80) - label.length - 30));
      const filled = Math.round(share * width);
      const drawing = `${'█'.repeat(filled)}${'░'.repeat(width - filled)}`;
      this.stderr.write(`\r\x1b[K${label} ${drawing} ${String(Math.floor(share * 100)).padStart(3)} %${left}`);
      if (share === 1) this.endProgress();
    } else if (share >= bar.shown + plainStep || (share === 1 && bar.shown < 1)) {
      bar.shown = Math.floor(share / plainStep) * plainStep;
      this.stderr.write(`${label} ${Math.floor(share * 100)} %${left}\n`);
    }
  }

  private endProgress(): void {
    if (this.bar && this.tty) this.stderr.write('\n');
    this.bar = undefined;
  }

  /** Ends a progress line that was not completed. */
  close(): void {
    this.endProgress();
  }
}

/** Rows with their columns aligned. */
export function table(rows: readonly (readonly string[])[], output: Output): void {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  for (const row of rows)
    output.line(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    );
}

/** Quoted for a shell if it has spaces in it. */
export function quoted(argument: string): string {
  return /^[\w@:./\\-]+$/.test(argument) ? argument : JSON.stringify(argument);
}
