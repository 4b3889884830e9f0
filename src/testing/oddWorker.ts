import { serveTasks } from '../serve/worker.js';

/** A worker whose tasks go wrong in the ways that a test asks for. */

export interface OddTasks {
  odd: {
    input: 'answers' | 'blocks' | 'waits' | 'aborts' | 'unsendable';
    event: string;
    question: never;
    answer: never;
    result: unknown;
  };
}

serveTasks<OddTasks>(
  {
    async odd(input, { emit }) {
      emit('begun');
      if (input === 'aborts') process.abort();
      if (input === 'blocks') for (;;);
      if (input === 'waits') await new Promise(() => {});
      return input === 'unsendable' ? () => {} : input;
    },
  },
  { nice: 0, farewellMs: 0 },
);
