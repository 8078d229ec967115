/**
 * Places the nodes of the DAG. Pure and deterministic: the same graph always gets the same picture.
 *
 * Parts that no link joins lie one below the other in the order of arrival, each in the direction that suits it. So a
 * new call in the notebook moves nothing that is there, and one deep recursion does not turn all the rest.
 *
 * Small graphs are laid out by dagre. It needs seconds for a thousand nodes, so large ones get columns by depth, in
 * linear time. The tasks inside an opened group lie in lanes, where each is placed once and never moved.
 */

import dagre from '@dagrejs/dagre';

export interface NodeSize {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}

export type EdgeKind = 'call' | 'data';

export interface Link {
  readonly source: string;
  readonly target: string;
  /** `call`: the source submitted the target. `data`: the source's result is an argument of the target. */
  readonly kind: EdgeKind;
}

/** Left to right, or top to bottom. */
export type Direction = 'LR' | 'TB';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A rectangle; `x` and `y` are its top left corner. */
export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

export interface Route {
  readonly link: Link;
  readonly points: readonly Point[];
  readonly direction: Direction;
}

interface Picture {
  readonly width: number;
  readonly height: number;
  readonly boxes: ReadonlyMap<string, Box>;
  readonly routes: readonly Route[];
}

export interface Layout extends Picture {
  /** In which direction the part runs that a node belongs to. */
  readonly directions: ReadonlyMap<string, Direction>;
}

/** Nodes that links join, in the order of arrival. */
interface Part {
  readonly nodes: NodeSize[];
  readonly links: Link[];
}

export const DAGRE_LIMIT = 150;
const MARGIN = 8;
const NODE_GAP = 8;
const RANK_GAP = { LR: 22, TB: 20 } as const;
/** The width that the choice of a direction aims at: that of a narrow side bar. */
const NOMINAL_WIDTH = 320;
/** How much better the other direction must be before a picture is turned. */
const TURN_THRESHOLD = 1.5;

/** Only links between two nodes that are there, each once, and none from a node to itself. */
function sound(nodes: readonly NodeSize[], links: readonly Link[]): Link[] {
  const known = new Set(nodes.map(node => node.id));
  const seen = new Set<string>();
  return links.filter(({ source, target, kind }) => {
    const key = `${kind} ${source} ${target}`;
    if (source === target || !known.has(source) || !known.has(target) || seen.has(key)) {
      return false;
    }
    seen.add(key);
    return true;
  });
}

function byDagre({ nodes, links }: Part, direction: Direction): Picture {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({
    rankdir: direction,
    nodesep: NODE_GAP,
    ranksep: RANK_GAP[direction],
    edgesep: NODE_GAP,
    marginx: MARGIN,
    marginy: MARGIN
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of nodes) {
    graph.setNode(id, { width, height });
  }
  for (const { source, target, kind } of links) {
    graph.setEdge(source, target, { weight: kind === 'call' ? 2 : 1 }, kind);
  }
  dagre.layout(graph);
  // dagre centres the nodes of a column; a common left edge is calmer.
  const columns = new Map<number, number>();
  for (const { id, width } of nodes) {
    const { x } = graph.node(id);
    columns.set(x, Math.max(columns.get(x) ?? 0, width));
  }
  const boxes = new Map<string, Box>();
  for (const { id, width, height } of nodes) {
    const { x, y } = graph.node(id);
    const breadth = direction === 'LR' ? (columns.get(x) ?? width) : width;
    boxes.set(id, { x: x - breadth / 2, y: y - height / 2, width, height });
  }
  const routes = links.map(link => {
    const { points } = graph.edge({ v: link.source, w: link.target, name: link.kind });
    return { link, direction, points: route(boxes, link, direction, points.slice(1, -1)) };
  });
  return { boxes, routes, ...extent(boxes) };
}

/** The depth of each node: one more than that of its deepest source. Nodes of a cycle keep the depth reached before it. */
function depths(nodes: readonly NodeSize[], links: readonly Link[]): Map<string, number> {
  const depth = new Map(nodes.map(node => [node.id, 0]));
  const missing = new Map(nodes.map(node => [node.id, 0]));
  const targets = new Map<string, string[]>();
  for (const { source, target } of links) {
    missing.set(target, (missing.get(target) ?? 0) + 1);
    const list = targets.get(source);
    if (list === undefined) {
      targets.set(source, [target]);
    } else {
      list.push(target);
    }
  }
  const ready = nodes.filter(node => missing.get(node.id) === 0).map(node => node.id);
  for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
    const next = (depth.get(id) ?? 0) + 1;
    for (const target of targets.get(id) ?? []) {
      depth.set(target, Math.max(depth.get(target) ?? 0, next));
      const left = (missing.get(target) ?? 0) - 1;
      missing.set(target, left);
      if (left === 0) {
        ready.push(target);
      }
    }
  }
  return depth;
}

/** One rank per depth; across, the next free place that does not lie before the caller's. */
function byDepth({ nodes, links }: Part, direction: Direction): Picture {
  const depth = depths(nodes, links);
  const caller = new Map<string, string>();
  for (const { source, target } of links) {
    if (!caller.has(target)) {
      caller.set(target, source);
    }
  }
  const horizontal = direction === 'LR';
  const thickness: number[] = [];
  for (const { id, width, height } of nodes) {
    const rank = depth.get(id) ?? 0;
    thickness[rank] = Math.max(thickness[rank] ?? 0, horizontal ? width : height);
  }
  const starts: number[] = [];
  let start = MARGIN;
  for (let rank = 0; rank < thickness.length; rank++) {
    starts.push(start);
    start += (thickness[rank] ?? 0) + RANK_GAP[direction];
  }
  const free: number[] = [];
  const boxes = new Map<string, Box>();
  // By depth, so that a caller has its place before those it calls; a stable sort keeps the rest in the order of arrival.
  const order = [...nodes].sort((a, b) => (depth.get(a.id) ?? 0) - (depth.get(b.id) ?? 0));
  for (const { id, width, height } of order) {
    const rank = depth.get(id) ?? 0;
    const above = boxes.get(caller.get(id) ?? '');
    const place = Math.max(free[rank] ?? MARGIN, above ? (horizontal ? above.y : above.x) : MARGIN);
    const along = starts[rank] ?? MARGIN;
    boxes.set(
      id,
      horizontal ? { x: along, y: place, width, height } : { x: place, y: along, width, height }
    );
    free[rank] = place + (horizontal ? height : width) + NODE_GAP;
  }
  const routes = links.map(link => ({
    link,
    direction,
    points: route(boxes, link, direction, [])
  }));
  return { boxes, routes, ...extent(boxes) };
}

function extent(boxes: ReadonlyMap<string, Box>): { width: number; height: number } {
  let width = 0;
  let height = 0;
  for (const box of boxes.values()) {
    width = Math.max(width, box.x + box.width);
    height = Math.max(height, box.y + box.height);
  }
  return { width: width + MARGIN, height: height + MARGIN };
}

/** From the middle of the source's far side to that of the target's near side. Data edges run a little beside calls. */
function route(
  boxes: ReadonlyMap<string, Box>,
  { source, target, kind }: Link,
  direction: Direction,
  bends: readonly Point[]
): Point[] {
  const from = boxes.get(source);
  const to = boxes.get(target);
  if (from === undefined || to === undefined) {
    return [];
  }
  const aside = kind === 'data' ? 5 : 0;
  const first =
    direction === 'LR'
      ? { x: from.x + from.width, y: from.y + from.height / 2 + aside }
      : { x: from.x + from.width / 2 + aside, y: from.y + from.height };
  const last =
    direction === 'LR'
      ? { x: to.x, y: to.y + to.height / 2 + aside }
      : { x: to.x + to.width / 2 + aside, y: to.y };
  return [first, ...bends, last];
}

/** The parts of a graph, in the order of their first nodes. Each node's part is found by following `joined`. */
function partsOf(nodes: readonly NodeSize[], links: readonly Link[]): Part[] {
  const joined = new Map<string, string>();
  const root = (id: string): string => {
    let top = id;
    for (let next = joined.get(top); next !== undefined; next = joined.get(top)) {
      top = next;
    }
    // So that a long chain is followed only once.
    for (let at = id; at !== top;) {
      const next = joined.get(at) ?? top;
      joined.set(at, top);
      at = next;
    }
    return top;
  };
  for (const { source, target } of links) {
    const [a, b] = [root(source), root(target)];
    if (a !== b) {
      joined.set(b, a);
    }
  }
  const parts = new Map<string, Part>();
  for (const node of nodes) {
    const id = root(node.id);
    const part = parts.get(id);
    if (part === undefined) {
      parts.set(id, { nodes: [node], links: [] });
    } else {
      part.nodes.push(node);
    }
  }
  for (const link of links) {
    parts.get(root(link.source))?.links.push(link);
  }
  return [...parts.values()];
}

function place(part: Part, direction: Direction): Picture {
  const { length } = part.nodes;
  return (length > 1 && length <= DAGRE_LIMIT ? byDagre : byDepth)(part, direction);
}

/**
 * A side bar is narrow, so the direction is chosen that needs to be shrunk less to fit its width: shallow graphs run
 * left to right, deep ones top to bottom. `previous` is kept unless the other has become much better.
 */
function placeBest(part: Part, previous: Direction): { picture: Picture; direction: Direction } {
  const kept = place(part, previous);
  if (kept.width <= NOMINAL_WIDTH) {
    return { picture: kept, direction: previous };
  }
  const other = previous === 'LR' ? 'TB' : 'LR';
  const turned = place(part, other);
  const gain = kept.width / Math.max(turned.width, NOMINAL_WIDTH);
  return gain > TURN_THRESHOLD
    ? { picture: turned, direction: other }
    : { picture: kept, direction: previous };
}

function lowered({ x, y, ...size }: Box, by: number): Box {
  return { x, y: y + by, ...size };
}

/**
 * Lays out a graph.
 *
 * `previous` are the directions of the layout before, which are kept as long as they are good enough.
 */
export function layoutGraph(
  nodes: readonly NodeSize[],
  links: readonly Link[],
  previous: ReadonlyMap<string, Direction> = new Map<string, Direction>()
): Layout {
  const boxes = new Map<string, Box>();
  const directions = new Map<string, Direction>();
  const routes: Route[] = [];
  let width = 2 * MARGIN;
  let top = 0;
  for (const part of partsOf(nodes, sound(nodes, links))) {
    const before = previous.get(part.nodes[0]?.id ?? '') ?? 'LR';
    const { picture, direction } = placeBest(part, before);
    for (const [id, box] of picture.boxes) {
      boxes.set(id, lowered(box, top));
      directions.set(id, direction);
    }
    for (const { points, ...rest } of picture.routes) {
      routes.push({ ...rest, points: points.map(({ x, y }) => ({ x, y: y + top })) });
    }
    width = Math.max(width, picture.width);
    // A picture ends with its margin; the next one begins with its own.
    top += picture.height - 2 * MARGIN + NODE_GAP;
  }
  return { boxes, directions, routes, width, height: Math.max(0, top - NODE_GAP) + 2 * MARGIN };
}

/**
 * The places of the tasks inside an opened group. A task gets the next free place when it is first seen and keeps it
 * until it goes; the number of rows grows by doubling, so that what lies below seldom moves.
 */
export class Lanes {
  constructor(readonly columns: number) {}

  get rows(): number {
    return this._rows;
  }

  /** Gives places to those in `ids` that have none, and frees those of tasks that are gone: linear in `ids`. */
  sync(ids: Iterable<string>): void {
    const present = new Set(ids);
    for (const [id, slot] of this._slots) {
      if (!present.has(id)) {
        this._slots.delete(id);
        this._free.push(slot);
      }
    }
    this._free.sort((a, b) => b - a);
    for (const id of present) {
      if (!this._slots.has(id)) {
        this._slots.set(id, this._free.pop() ?? this._end++);
        this._ordinals.set(id, ++this._seen);
      }
    }
    for (const id of this._ordinals.keys()) {
      if (!this._slots.has(id)) {
        this._ordinals.delete(id);
      }
    }
    while (this._rows * this.columns < this._end) {
      this._rows *= 2;
    }
  }

  /** Column and row of a task. */
  cell(id: string): { column: number; row: number } | null {
    const slot = this._slots.get(id);
    return slot === undefined
      ? null
      : { column: slot % this.columns, row: Math.floor(slot / this.columns) };
  }

  /** Which one of its group a task was, counted from 1 since the group was opened. */
  ordinal(id: string): number {
    return this._ordinals.get(id) ?? 0;
  }

  private _end = 0;
  private _free: number[] = [];
  private _ordinals = new Map<string, number>();
  private _rows = 2;
  private _seen = 0;
  private _slots = new Map<string, number>();
}
