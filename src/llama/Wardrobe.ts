import { requireTemplate } from '../adapters/base.js';
import { keys, textNote } from '../adapters/lora.js';
import type { Adapter } from '../adapters/openAdapter.js';
import { isAbout, readSubject, type Subject } from '../adapters/subject.js';
import { LoamError } from '../base/errors.js';
import type { AdapterHandle } from '../engine/llamaBindings.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { beginningsOf } from './reading.js';
import type { Session } from './Session.js';

/** By what corrections may be multiplied: beyond it answers are noise. */
export const MOST_STRENGTH = 4;

/** An adapter to be worn: the name it was hung under, by what its correction is multiplied, and what the person calls it. */
export interface Wish {
  name: string;
  strength: number;
  title?: string;
}

/** An adapter that can be put on, and how the template is asked when it is: as it was while it learnt. */
interface Hung {
  handle: AdapterHandle;
  day: string | undefined;
  /** Undefined where the file does not say, as those of other tools. */
  thoughts: boolean | undefined;
  /** What the template has to be told for it. */
  thinking: boolean | undefined;
  subject: Subject | undefined;
}

/** The adapters of a session by name. Several can be worn at once, each at a strength of its own: their corrections add up. */
export class Wardrobe {
  private readonly hung = new Map<string, Hung>();

  constructor(
    private readonly session: Session,
    private readonly tokenizer: Tokenizer,
  ) {}

  /** Loads an adapter, which must have passed `openAdapter`, under a name; its file may go afterwards. */
  async hang(name: string, adapter: Adapter): Promise<void> {
    await requireTemplate(adapter, this.tokenizer);
    const { path, base } = adapter;
    const handle = await this.session.loadAdapter(path);
    this.drop(name);
    const { thinking } = base;
    const thoughts = thinking ?? (base.templateSha256 === '' ? undefined : true);
    const subject = readSubject(textNote(adapter.notes, keys.subject), this.session.width);
    this.hung.set(name, { handle, day: base.templateDay, thoughts, thinking, subject });
  }

  drop(name: string): void {
    const dropped = this.hung.get(name);
    this.hung.delete(name);
    if (dropped) this.session.freeAdapter(dropped.handle);
  }

  /**
   * Those of the adapters that a question is for: the others learnt to answer questions of another kind, and only get in its way.
   * @throws LoamError for an adapter that does not say what its questions are about
   */
  async suited(wishes: readonly Wish[], question: string, signal?: AbortSignal): Promise<Wish[]> {
    const known = wishes.map((wish) => {
      const subject = this.hung.get(wish.name)?.subject;
      if (subject) return { wish, subject };
      throw new LoamError({
        code: 'mismatch',
        found: `the adapter ${shown(wish)} does not say what its questions are about`,
        where: 'gate',
        fix: 'tune it again, or answer without the gate',
      });
    });
    this.session.wear(undefined);
    const { session } = this;
    const [vector] = await session.embed(beginningsOf(session.vocabulary, [question]), { signal });
    return known.flatMap(({ wish, subject }) => (vector && isAbout(subject, vector) ? [wish] : []));
  }

  /**
   * Answers come from now on with these; none, or names that nothing hangs under: from the base model alone. What learnt under a template
   * with a day in it is asked under that day, the bare model under today's.
   * @throws LoamError (mismatch) for two that learnt under different days, or one with thoughts and one without
   */
  wear(wishes: readonly Wish[]): void {
    const worn = wishes.flatMap((wish) => {
      const hung = this.hung.get(wish.name);
      return hung && wish.strength !== 0 ? [{ ...wish, ...hung }] : [];
    });
    const days = worn.filter(({ day }) => day !== undefined);
    const other = days.find(({ day }) => day !== days[0]!.day);
    if (other) {
      throw disagree(days[0]!, other, 'learnt under different days, which the chat template writes into every prompt');
    }
    const thoughtless = worn.find(({ thoughts }) => thoughts === false);
    const thoughtful = worn.find(({ thoughts }) => thoughts === true);
    if (thoughtless && thoughtful) {
      throw disagree(
        thoughtless,
        thoughtful,
        'do not go together: one learnt to answer without thoughts, the other did not',
      );
    }
    this.session.wearAll(worn.map(({ handle, strength }) => ({ adapter: handle, scale: strength })));
    this.tokenizer.template.day = days[0]?.day;
    this.tokenizer.thinking = worn.find(({ thinking }) => thinking !== undefined)?.thinking;
  }
}

function disagree(one: Wish, other: Wish, how: string): LoamError {
  return new LoamError({
    code: 'mismatch',
    found: `the adapters ${shown(one)} and ${shown(other)} ${how}`,
    fix: 'use one of them, or tune one of them again',
  });
}

function shown({ title, name }: Wish): string {
  return JSON.stringify((title ?? name).slice(0, 100));
}
