/** Tells how much of the walking is done, in tokens through a layer. */
export class WalkProgress {
  private done = 0;
  total = 0;
  constructor(private readonly emit: (event: { type: 'progress'; done: number; total: number }) => void) {}
  readonly add = (tokens: number): void => {
    this.done += tokens;
    this.emit({ type: 'progress', done: this.done, total: this.total });
  };
}
