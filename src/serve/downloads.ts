import { LoamError, StoppedError, sentence } from '../base/errors.js';
import { findModel, type ModelEntry } from '../models/catalogue.js';
import { fetchModel } from '../models/fetchModel.js';
import type { Download } from './contract/models.js';
import type { ChangeEvent } from './contract/server.js';
import { withoutPaths } from './paths.js';

/** The downloads of models that are under way. */
export class Downloads implements AsyncDisposable {
  private readonly running = new Map<string, { controller: AbortController; ended: Promise<void>; at: Download }>();

  constructor(
    private readonly home: string,
    private readonly emit: (event: ChangeEvent) => void,
  ) {}

  of(name: string): Download | undefined {
    return this.running.get(name)?.at;
  }

  /** Starts a download, or returns the one under way. @throws UsageError for a name that is not in the catalogue */
  start(name: string): Download {
    const known = this.of(name);
    if (known) return known;
    const entry = findModel(name);
    const at: Download = { name, state: 'running', done: 0, total: entry.size };
    const controller = new AbortController();
    const ended = this.fetch(entry, at, controller.signal).finally(() => this.running.delete(name));
    this.running.set(name, { controller, ended, at });
    return at;
  }

  async stop(name: string): Promise<boolean> {
    const found = this.running.get(name);
    found?.controller.abort();
    await found?.ended;
    return found !== undefined;
  }

  private async fetch(entry: ModelEntry, at: Download, signal: AbortSignal): Promise<void> {
    const tell = (change: Partial<Download>) => {
      Object.assign(at, change);
      this.emit({ type: 'download', ...at });
    };
    tell({});
    try {
      for await (const event of fetchModel(entry, { home: this.home, signal })) {
        if (event.type === 'progress') tell({ done: event.done, total: event.total, message: undefined });
        if (event.type === 'checking') tell({ message: 'checking what is already here' });
        if (event.type === 'retry' || event.type === 'source-failed')
          tell({ message: sentence(withoutPaths(event.reason)) });
        if (event.type === 'waiting') tell({ message: `process ${event.pid} is downloading it` });
      }
      tell({ state: 'done', done: at.total, message: undefined });
      this.emit({ type: 'changed', what: 'models' });
    } catch (error) {
      const message = withoutPaths(error instanceof Error ? error.message : String(error));
      const code = error instanceof LoamError ? error.code : undefined;
      tell(
        error instanceof StoppedError ? { state: 'stopped', message: undefined } : { state: 'failed', message, code },
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.running.keys()].map((name) => this.stop(name)));
  }
}
