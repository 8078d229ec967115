/**
 * The layout for what is both deep and wide, where there is little room: one node a row, below the one that called it
 * and a little to the right. Links that are no part of that tree run beside it, on the right.
 */

import {
  MARGIN,
  extent,
  type Box,
  type Link,
  type NodeSize,
  type Part,
  type Picture,
  type Point
} from './geometry';

/** How far a call stands to the right of its caller. */
const INDENT = 20;
/** Where the line to the callees leaves the lower edge of their caller. */
const STEM = INDENT / 2;
const ROW_GAP = 6;
const LANE_GAP = 6;
/** So many links run side by side; where there are more, they share the last lane. */
const MOST_LANES = 8;
/** How far data arrives beside a call. */
const ASIDE = 5;

export function outline({ nodes, links }: Part): Picture {
  const callers = callersOf(links);
  const boxes = new Map<string, Box>();
  let y = MARGIN;
  for (const [{ id, width, height }, depth] of rowsOf(nodes, callers)) {
    boxes.set(id, { x: MARGIN + depth * INDENT, y, width, height });
    y += height + ROW_GAP;
  }
  const tree = extent(boxes);
  const isBranch = ({ source, target, kind }: Link): boolean =>
    kind === 'call' &&
    callers.get(target) === source &&
    (boxes.get(source)?.x ?? 0) < (boxes.get(target)?.x ?? 0);
  const lanes = lanesOf(
    links.filter(link => !isBranch(link)),
    boxes
  );
  const routes = links.map(link => {
    const [from, to] = [boxes.get(link.source), boxes.get(link.target)];
    const lane = lanes.get(link);
    const points =
      from === undefined || to === undefined
        ? []
        : lane === undefined
          ? branch(from, to)
          : beside(from, to, tree.width + lane.index * LANE_GAP, link.kind === 'data' ? ASIDE : 0);
    const joins = lane?.joins === true;
    return { link, direction: 'outline' as const, points, joins };
  });
  const indices = [...lanes.values()].map(({ index }) => index);
  const used = lanes.size === 0 ? 0 : Math.max(...indices) * LANE_GAP + MARGIN;
  return { boxes, routes, width: tree.width + used, height: tree.height };
}

interface Lane {
  readonly index: number;
  /** Whether those that run in it have their end in common, not their beginning. */
  readonly joins: boolean;
}

/** Who called each node first. */
function callersOf(links: readonly Link[]): Map<string, string> {
  const callers = new Map<string, string>();
  for (const { source, target, kind } of links) {
    if (kind === 'call' && !callers.has(target)) {
      callers.set(target, source);
    }
  }
  return callers;
}

/** The nodes and their depths: each after its caller and what that called before; in the order of arrival otherwise. */
function* rowsOf(
  nodes: readonly NodeSize[],
  callers: ReadonlyMap<string, string>
): Iterable<[NodeSize, number]> {
  const callees = new Map<string, NodeSize[]>();
  for (const node of nodes) {
    const caller = callers.get(node.id);
    if (caller !== undefined) {
      const list = callees.get(caller);
      if (list === undefined) {
        callees.set(caller, [node]);
      } else {
        list.push(node);
      }
    }
  }
  const placed = new Set<string>();
  // Groups may call one another in a circle, which has no first: what no root leads to is a root in turn.
  for (const root of [...nodes.filter(node => !callers.has(node.id)), ...nodes]) {
    const next: [NodeSize, number][] = [[root, 0]];
    for (let row = next.pop(); row !== undefined; row = next.pop()) {
      const [node, depth] = row;
      if (!placed.has(node.id)) {
        placed.add(node.id);
        yield row;
        for (const callee of [...(callees.get(node.id) ?? [])].reverse()) {
          next.push([callee, depth + 1]);
        }
      }
    }
  }
}

/**
 * The lane of each link beside the tree, the shortest links innermost. Those that end or begin at one node run in one
 * lane, as on a bus.
 */
function lanesOf(links: readonly Link[], boxes: ReadonlyMap<string, Box>): Map<Link, Lane> {
  const ends = new Map<string, number>();
  const endsOf = ({ source, target, kind }: Link): [string, string] => [
    `${kind} from ${source}`,
    `${kind} to ${target}`
  ];
  for (const end of links.flatMap(endsOf)) {
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  const buses = new Map<string, { name: string; links: Link[]; top: number; bottom: number }>();
  for (const link of links) {
    const [from, to] = endsOf(link);
    const name = (ends.get(to) ?? 0) >= (ends.get(from) ?? 0) ? to : from;
    const bus = buses.get(name) ?? { name, links: [], top: Infinity, bottom: -Infinity };
    const rows = [boxes.get(link.source)?.y ?? 0, boxes.get(link.target)?.y ?? 0];
    bus.links.push(link);
    buses.set(name, {
      name,
      links: bus.links,
      top: Math.min(bus.top, ...rows),
      bottom: Math.max(bus.bottom, ...rows)
    });
  }
  const lanes = new Map<Link, Lane>();
  const taken: [number, number][][] = [];
  const shortest = [...buses.values()].sort((a, b) => a.bottom - a.top - (b.bottom - b.top));
  for (const { name, links: together, top, bottom } of shortest) {
    const free = taken.findIndex(lane => lane.every(([from, to]) => to < top || bottom < from));
    const lane = Math.min(free === -1 ? taken.length : free, MOST_LANES - 1);
    (taken[lane] ??= []).push([top, bottom]);
    for (const link of together) {
      lanes.set(link, { index: lane, joins: name === endsOf(link)[1] });
    }
  }
  return lanes;
}

/** Down from the caller, then to the right. */
function branch(from: Box, to: Box): Point[] {
  const x = from.x + STEM;
  const y = to.y + to.height / 2;
  return [
    { x, y: from.y + from.height },
    { x, y },
    { x: to.x, y }
  ];
}

/** Out to a lane, along it, and back. */
function beside(from: Box, to: Box, x: number, aside: number): Point[] {
  const start = from.y + from.height / 2 + aside;
  const end = to.y + to.height / 2 + aside;
  return [
    { x: from.x + from.width, y: start },
    { x, y: start },
    { x, y: end },
    { x: to.x + to.width, y: end }
  ];
}
