import type { Engine } from './engine.js';
import { Graph } from './graph.js';
import { native, type SchedulerHandle } from './native.js';

/**
 * A scheduler with its compute memory, which grows to the largest graph seen and is reused. One graph at a time: `begin` ends the
 * one before it.
 */
export class Workspace implements Disposable {
  readonly scheduler: SchedulerHandle;
  private current: Graph | undefined;
  private disposed = false;

  constructor(
    readonly engine: Engine,
    readonly nodes: number,
  ) {
    this.scheduler = engine.newScheduler(nodes);
  }

  /** A new, empty graph. */
  begin(): Graph {
    this.current?.[Symbol.dispose]();
    native().ggml.schedulerReset(this.scheduler);
    this.current = new Graph(this);
    return this.current;
  }

  /** Bytes of compute memory held. */
  get bytes(): number {
    return this.engine.schedulerBytes(this.scheduler);
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.current?.[Symbol.dispose]();
    native().ggml.schedulerFree(this.scheduler);
  }
}
