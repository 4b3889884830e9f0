import type { Socket } from 'node:net';
import { LoamError } from '../../base/errors.js';
import type { Caller } from './access.js';

/**
 * The open connections: so many and no more. When there is no room for a new one, another has to go, and those that nobody vouches for go
 * first: a connection that has asked nothing, one that rests, one that is being answered without a token, one of a key, a stream of the
 * owner's. So whoever opens connections and is silent crowds out nobody but his like.
 */

/** Simultaneous connections: some tabs and programs, not a flood. */
const MAX_CONNECTIONS = 256;
/**
 * Beyond that, each has a moment to say what it wants, so that whoever only opens connections, however fast, does not push out one that was
 * about to ask; and a flood is slowed down by it, since each of its connections comes back as soon as it is dropped.
 */
const MOMENT_MS = 1000;
/** Some 10 kB each. */
const MAX_AT_ANY_TIME = 4096;
/** Streams of events that stay open: beyond, the oldest ends; a page that still wants it comes back. */
const MAX_STREAMS = 64;
/** Requests of one key at a time. */
const MAX_OF_KEY = 16;

/** What a connection is doing, in the order in which they go. */
const ranks = { silent: 0, resting: 1, stranger: 2, key: 3, stream: 4, owner: 5 } as const;
type Rank = keyof typeof ranks;

interface Connection {
  rank: Rank;
  since: number;
}

export class Connections {
  /** Oldest first. */
  private readonly open = new Map<Socket, Connection>();
  private readonly ofKey = new Map<string, number>();
  private trimming: NodeJS.Timeout | undefined;

  add(socket: Socket): void {
    if (this.open.size >= MAX_AT_ANY_TIME && !this.dropOldest()) {
      socket.destroy();
      return;
    }
    this.open.set(socket, { rank: 'silent', since: performance.now() });
    socket.on('close', () => this.open.delete(socket));
    this.trim();
  }

  /** Takes those that are too many, once they have had their moment. */
  private trim(): void {
    if (this.open.size <= MAX_CONNECTIONS) return;
    this.trimming ??= setTimeout(() => {
      this.trimming = undefined;
      const before = performance.now() - MOMENT_MS;
      while (this.open.size > MAX_CONNECTIONS && this.dropOldest(before));
      this.trim();
    }, MOMENT_MS).unref();
  }

  /** A request has come; whose it is nobody knows yet. */
  asks(socket: Socket): void {
    this.set(socket, 'stranger');
  }

  /**
   * The request is one of the owner's, or of a key.
   * @returns to be called when it is answered
   * @throws LoamError: busy, if the key has too many already
   */
  vouch(socket: Socket, { key }: Caller): () => void {
    if (!key) {
      this.set(socket, 'owner');
      return () => {};
    }
    const { id } = key;
    const running = this.ofKey.get(id) ?? 0;
    if (running >= MAX_OF_KEY) {
      const found = `this key has ${MAX_OF_KEY} requests under way`;
      throw new LoamError({ code: 'busy', found, fix: 'wait for one to be answered' });
    }
    this.ofKey.set(id, running + 1);
    this.set(socket, 'key');
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const left = this.ofKey.get(id)! - 1;
      if (left > 0) this.ofKey.set(id, left);
      else this.ofKey.delete(id);
    };
  }

  /** From now on it holds a stream of events. */
  streams(socket: Socket): void {
    if (this.open.get(socket)?.rank !== 'owner') return;
    const streams = [...this.open].filter(([, { rank }]) => rank === 'stream');
    if (streams.length >= MAX_STREAMS) this.drop(streams[0]![0]);
    this.set(socket, 'stream');
  }

  /** The request is answered. */
  rests(socket: Socket): void {
    this.set(socket, 'resting');
  }

  private set(socket: Socket, rank: Rank): void {
    const known = this.open.get(socket);
    if (known) known.rank = rank;
  }

  private drop(socket: Socket): void {
    this.open.delete(socket);
    socket.destroy();
  }

  /**
   * Of the lowest rank the oldest, if it came before a moment.
   * @returns whether there was one: not if all are the owner's
   */
  private dropOldest(before = Number.POSITIVE_INFINITY): boolean {
    let found: { socket: Socket; rank: number } | undefined;
    for (const [socket, { rank: name, since }] of this.open) {
      const rank = ranks[name];
      if (since < before && rank < ranks.owner && (!found || rank < found.rank)) found = { socket, rank };
    }
    if (found) this.drop(found.socket);
    return found !== undefined;
  }
}
