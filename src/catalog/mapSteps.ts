/** Passes on what a generator yields, changed by `map`, and what it returns; ends it when the reader stops early. */
export async function* mapSteps<A, B, R>(steps: AsyncGenerator<A, R>, map: (step: A) => B): AsyncGenerator<B, R> {
  try {
    for (;;) {
      const step = await steps.next();
      if (step.done === true) return step.value;
      yield map(step.value);
    }
  } finally {
    await steps.return(undefined as never);
  }
}
