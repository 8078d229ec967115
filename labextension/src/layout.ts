/**
 * Places the nodes of the DAG. Pure and deterministic: the same graph always gets the same picture.
 *
 * Parts that no link joins lie one below the other in the order of arrival, each in the direction that suits it; nodes
 * without links fill rows. So a new call in the notebook moves nothing that is there, a part that grows only pushes down
 * what lies below it, and one deep recursion does not turn all the rest.
 *
 * Small graphs are laid out by dagre. It needs seconds for a thousand nodes, so large ones get columns by depth, in
 * linear time. What fits neither from left to right nor from top to bottom is an outline.
 */

import dagre from '@dagrejs/dagre';

import {
  MARGIN,
  NODE_GAP,
  extent,
  type Box,
  type Direction,
  type Link,
  type NodeSize,
  type Part,
  type Picture,
  type Point,
  type Route
} from './geometry';
import { outline } from './outline';

export interface Layout extends Picture {
  /** The width that it was made for. */
  readonly available: number;
  /** In which direction the part runs that a node belongs to. */
  readonly directions: ReadonlyMap<string, Direction>;
  /** The parts as they were placed, so that the next layout need not place again those that are still the same. */
  readonly pictures: ReadonlyMap<string, Picture>;
}

export const DAGRE_LIMIT = 150;
const RANK_GAP = { LR: 22, TB: 20 } as const;
/** The directions that have ranks. */
type Ranked = keyof typeof RANK_GAP;
/** Between parts: more than inside them, so that the eye sees what belongs together. */
const PART_GAP = 14;
/** That of a narrow side bar. */
export const NOMINAL_WIDTH = 320;
/** How far a picture may be shrunk to fit, and stay legible. */
export const SHRINK_AT_MOST = 0.8;
/** How much narrower another direction must be before a part that does not fit is turned. */
const TURN_THRESHOLD = 1.25;

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

function byDagre({ nodes, links }: Part, direction: Ranked): Picture {
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
function byDepth({ nodes, links }: Part, direction: Ranked): Picture {
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

/** From the middle of the source's far side to that of the target's near side. Data edges run a little beside calls. */
function route(
  boxes: ReadonlyMap<string, Box>,
  { source, target, kind }: Link,
  direction: Ranked,
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

/** Nodes without links, in rows that are as wide as there is room. */
function inRows(nodes: readonly NodeSize[], available: number): Picture {
  const boxes = new Map<string, Box>();
  let x = MARGIN;
  let y = MARGIN;
  let tallest = 0;
  for (const { id, width, height } of nodes) {
    if (x > MARGIN && x + width + MARGIN > available) {
      x = MARGIN;
      y += tallest + NODE_GAP;
      tallest = 0;
    }
    boxes.set(id, { x, y, width, height });
    x += width + NODE_GAP;
    tallest = Math.max(tallest, height);
  }
  return { boxes, routes: [], ...extent(boxes) };
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
  return gathered(parts.values());
}

/** Puts nodes without links that follow one another together. */
function gathered(parts: Iterable<Part>): Part[] {
  const result: Part[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (part.links.length === 0 && last?.links.length === 0) {
      last.nodes.push(...part.nodes);
    } else {
      result.push(part);
    }
  }
  return result;
}

function place(part: Part, direction: Direction): Picture {
  if (direction === 'outline') {
    return outline(part);
  }
  return (part.nodes.length <= DAGRE_LIMIT ? byDagre : byDepth)(part, direction);
}

/**
 * A part runs from left to right, unless it does not fit: then from top to bottom if that is clearly narrower, and as an
 * outline if neither fits. Once turned, it stays so while that fits, because to turn it back would move all of it.
 */
function bestDirection(
  available: number,
  before: Direction,
  widthOf: (direction: Direction) => number
): Direction {
  let best = before;
  for (const other of ['LR', 'TB', 'outline'] as const) {
    const width = widthOf(best);
    if (width * SHRINK_AT_MOST <= available) {
      return best;
    }
    if (width > TURN_THRESHOLD * widthOf(other)) {
      best = other;
    }
  }
  return best;
}

/**
 * Lays out a graph.
 *
 * `available` is the width there is to fill. `previous` is the layout before: its directions are kept while the width is
 * the same and they are good enough.
 */
export function layoutGraph(
  nodes: readonly NodeSize[],
  links: readonly Link[],
  available = NOMINAL_WIDTH,
  previous: Layout | null = null
): Layout {
  const boxes = new Map<string, Box>();
  const directions = new Map<string, Direction>();
  const pictures = new Map<string, Picture>();
  const routes: Route[] = [];
  const before = previous?.available === available ? previous.directions : null;
  let width = 2 * MARGIN;
  let top = MARGIN;
  for (const part of partsOf(nodes, sound(nodes, links))) {
    const name = JSON.stringify(part);
    const picture = (direction: Direction): Picture => {
      const key = `${direction} ${name}`;
      const made = pictures.get(key) ?? previous?.pictures.get(key) ?? place(part, direction);
      pictures.set(key, made);
      return made;
    };
    const isRows = part.links.length === 0;
    const direction = isRows
      ? 'LR'
      : bestDirection(
          available,
          before?.get(part.nodes[0]?.id ?? '') ?? 'LR',
          each => picture(each).width
        );
    const chosen = isRows ? inRows(part.nodes, available) : picture(direction);
    const down = top - MARGIN;
    for (const [id, { x, y, ...size }] of chosen.boxes) {
      boxes.set(id, { x, y: y + down, ...size });
      directions.set(id, direction);
    }
    for (const { points, ...rest } of chosen.routes) {
      routes.push({ ...rest, points: points.map(({ x, y }) => ({ x, y: y + down })) });
    }
    width = Math.max(width, chosen.width);
    top += chosen.height - 2 * MARGIN + PART_GAP;
  }
  return { available, boxes, directions, pictures, routes, width, height: extent(boxes).height };
}
