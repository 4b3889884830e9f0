import { GraphNode, type GraphReader } from '../../engine/graphTap.js';
import { type ClosedWay, type GraphWays, nameOf, type Step, StreamTracker } from './ways.js';

/** Readers of a graph as libllama computes it: one finds its ways, one takes rows out of it. */

/** Nodes of one graph by their address: what was seen before, and the leaves that no node is. */
class Seen {
  private readonly nodes = new Map<bigint, GraphNode>();
  add(node: GraphNode): void {
    this.nodes.set(node.address, node);
  }
  readonly at = (address: bigint): GraphNode => {
    const known = this.nodes.get(address) ?? new GraphNode(address);
    this.nodes.set(address, known);
    return known;
  };
}

/** What reaches the stream in several parts is one linear. */
function once(closed: readonly ClosedWay[]): ClosedWay[] {
  return [...new Map(closed.map((way) => [nameOf(way), way])).values()];
}

/** Finds the ways of a graph as it is computed. */
export class WaysReader implements GraphReader {
  private readonly tracker: StreamTracker;
  private readonly seen = new Seen();

  constructor(width: number) {
    this.tracker = new StreamTracker(width);
  }

  get found(): GraphWays {
    const { sums, gains, severalStreams, corrected, entrances, reads } = this.tracker;
    const times = (way: { layer: number; module: string }) =>
      this.tracker.ways.filter((other) => nameOf(other) === nameOf(way)).length;
    const twice = this.tracker.ways.filter((way) => times(way) > 1);
    const closed = twice.map(({ layer, module }) => ({ layer, module, why: 'it reaches the stream more than once' }));
    const ways = this.tracker.ways.filter((way) => !twice.includes(way));
    return {
      ways,
      closed: once([...this.tracker.closed, ...closed]),
      entrances,
      sums,
      gains,
      severalStreams,
      corrected,
      reads,
    };
  }

  visit(node: GraphNode): boolean {
    this.seen.add(node);
    this.tracker.follow(node, this.seen.at);
    return false;
  }

  computed(): boolean {
    return true;
  }
}

/** What is wanted of one graph. */
export interface WantedRows {
  /** Linears ("blk.3.ffn_down") whose inputs are. */
  readonly inputs?: ReadonlySet<string>;
  /** Linears whose outputs are, as they enter the norm behind. */
  readonly outputs?: ReadonlySet<string>;
  /** Sums with the stream. */
  readonly sums?: ReadonlySet<number>;
  /** The step to the first layer that is, and behind which nothing needs to be computed. */
  readonly entrance?: number;
  /** The sum behind which nothing needs to be computed. */
  readonly last?: number;
}

/** Values of all rows of a graph: a view of its own memory, valid during the call. An output may come several times; the last one counts. */
export type TakeRows = (
  what: { inputs: string } | { output: string } | { sum: number } | { entrance: number },
  rows: Float32Array,
) => void;

/** Takes rows out of a graph as it is computed, and ends it behind the last one that is wanted. */
export class RowsReader implements GraphReader {
  private readonly tracker: StreamTracker;
  private readonly seen = new Seen();
  private step: Step = { unnormed: [] };

  constructor(
    width: number,
    private readonly wanted: WantedRows,
    private readonly take: TakeRows,
  ) {
    this.tracker = new StreamTracker(width);
  }

  visit(node: GraphNode): boolean {
    this.seen.add(node);
    this.step = this.tracker.follow(node, this.seen.at);
    const { entrance, sum, product, unnormed } = this.step;
    const { inputs, outputs, sums, last } = this.wanted;
    if (entrance !== undefined) return entrance === this.wanted.entrance;
    if (sum !== undefined) return sum === last || sums?.has(sum) === true;
    return (product !== undefined && inputs?.has(product) === true) || unnormed.some((one) => outputs?.has(one));
  }

  computed(node: GraphNode): boolean {
    const { entrance, sum, product, unnormed } = this.step;
    const { inputs, outputs, sums, last } = this.wanted;
    if (entrance !== undefined) {
      this.take({ entrance }, node.values());
      return false;
    }
    if (sum !== undefined) {
      if (sums?.has(sum)) this.take({ sum }, node.values());
      return sum !== last;
    }
    if (product !== undefined && inputs?.has(product))
      this.take({ inputs: product }, this.seen.at(node.sources[1]!).values());
    const output = unnormed.find((one) => outputs?.has(one));
    if (output !== undefined) this.take({ output }, node.values());
    return true;
  }
}
