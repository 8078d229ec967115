/** The DOM of one node or edge of the SVG renderer: made once, then changed only where its look has changed. */

import { clip, clipName, errorName, full, lasting, short, span } from '../format';
import { TASK_GLYPHS } from '../glyphs';
import type { Direction, Point, Route } from '../geometry';
import type { Task, TaskState } from '../protocol';
import type { Labels } from './base';
import {
  countsOf,
  displayName,
  isEnded,
  type Cell,
  type GroupNode,
  type LaneBox,
  type TaskNode
} from './scene';

const SVG = 'http://www.w3.org/2000/svg';
/** The mean width of a character at the font sizes of the style sheet. */
const CHARACTER = 6.6;
/** How wide a text is that is not bold, of what `textWidth` says. */
const LIGHT = 0.78;
/** How much of an error a hint shows. */
const ERROR_AT_MOST = 300;
/** The radius of the corners of a line. */
const CORNER = 5;

type Attributes = Record<string, string | number>;

export function make(tag: string, attributes: Attributes = {}, text?: string): SVGElement {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  if (text !== undefined) {
    element.textContent = text;
  }
  return element;
}

export function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, String(value));
  }
}

function glyph(state: TaskState, x: number, y: number, size: number): SVGElement {
  const { path, style } = TASK_GLYPHS[state];
  return make('path', {
    class: `jr-Glyph jr-mod-${style} jr-state-${state}`,
    d: path,
    transform: `translate(${x} ${y}) scale(${size / 16})`
  });
}

/** How long a task has run, or ran; null if it never started. */
export function elapsed(task: Task, now: number): string | null {
  const { started, ended } = task;
  if (started === null) {
    return null;
  }
  return ended === null ? lasting(now - started) : span(ended - started);
}

function note(task: Task, now: number, labels: Labels, room: number): string {
  if (task.state === 'blocked') {
    const lent = Object.keys(task.lent);
    return lent.length > 0 ? `lent ${lent.join(', ')}` : labels.state('blocked');
  }
  if (task.state === 'running' || task.state === 'finished') {
    return elapsed(task, now) ?? labels.state(task.state);
  }
  // The shape and the colour say that it failed.
  const error = task.state === 'failed' && task.error !== null ? errorName(task.error) : null;
  return error === null ? labels.state(task.state) : clip(error, room / LIGHT);
}

function identify(element: Element, task: Task): void {
  set(element, {
    'data-testid': 'jr-task',
    'data-task-id': task.id,
    'data-task-name': task.name,
    'data-state': task.state
  });
}

/** What a screen reader says of a task, and the first lines of the hint. */
function labelOf(task: Task, labels: Labels, name = task.name): string {
  const state = `${name}, ${labels.state(task.state)}`;
  return task.error === null ? state : `${state}\n${task.error.slice(0, ERROR_AT_MOST)}`;
}

function attempt(task: Task, labels: Labels): string {
  return task.attempt > 0 ? labels.attempt(task.attempt + 1) : '';
}

/** A node that stands for one task. */
export function drawTask(
  g: SVGElement,
  { task, box }: TaskNode,
  now: number,
  labels: Labels
): void {
  identify(g, task);
  const label = labelOf(task, labels);
  set(g, {
    class: `jr-Node jr-Node-task jr-state-${task.state}`,
    role: 'button',
    'aria-label': label
  });
  const room = box.width - 31;
  const text = clipName(displayName(task), room);
  const hint = [label, elapsed(task, now) ?? '', attempt(task, labels), task.id];
  g.replaceChildren(
    make('title', {}, hint.filter(line => line !== '').join('\n')),
    make('rect', { class: 'jr-Node-body', width: box.width, height: box.height, rx: 4 }),
    glyph(task.state, 7, box.height / 2 - 7, 14),
    make('text', { class: 'jr-Node-name', x: 27, y: 14 }, text),
    make('text', { class: 'jr-Node-note', x: 27, y: 27 }, note(task, now, labels, room))
  );
}

/** What a glance should find first. */
const URGENCY: readonly TaskState[] = [
  'running',
  'blocked',
  'failed',
  'pending',
  'waiting',
  'finished',
  'cancelled'
];

function tally(node: GroupNode | LaneBox, labels: Labels): string {
  const words = countsOf(node.group).map(
    ([state, count]) => `${full(count)} ${labels.state(state)}`
  );
  return `${node.group.name} × ${full(node.total)}: ${words.join(', ')}`;
}

/** A node that stands for all the calls that were made at one place. */
export function drawGroup(g: SVGElement, node: GroupNode, labels: Labels): void {
  const { group, box, total, open } = node;
  const title = tally(node, labels);
  set(g, {
    class: `jr-Node jr-Node-group${open ? ' jr-mod-open' : ''}`,
    role: 'button',
    'aria-label': title,
    'aria-expanded': String(open),
    'data-testid': 'jr-group',
    'data-group-id': group.id,
    'data-name': group.name,
    'data-counts': JSON.stringify(group.counts)
  });
  const times = `×${short(total)}`;
  const room = box.width - 24 - CHARACTER * times.length;
  const children = [
    make('title', {}, `${title}\n${open ? labels.closeGroup : labels.openGroup}`),
    make('rect', { class: 'jr-Node-body', width: box.width, height: box.height, rx: 4 }),
    make('text', { class: 'jr-Node-name', x: 8, y: 15 }, clipName(displayName(group), room)),
    make('text', { class: 'jr-Node-total', x: box.width - 8, y: 15 }, times)
  ];
  const counts = countsOf(group);
  let x = 7;
  for (const state of URGENCY) {
    const count = group.counts[state] ?? 0;
    const text = short(count);
    const width = 19 + 5.8 * text.length;
    if (count > 0 && x + width <= box.width) {
      children.push(
        glyph(state, x, 21, 11),
        make('text', { class: 'jr-Node-note', x: x + 13, y: 30 }, text)
      );
      x += width;
    }
  }
  children.push(...bar(counts, total, box.width - 16));
  g.replaceChildren(...children);
}

/** The frame around the tasks of an opened group. */
export function drawLanes(g: SVGElement, node: LaneBox, labels: Labels): void {
  const { group, box, total, folded } = node;
  set(g, {
    class: 'jr-Node jr-Node-lanes',
    role: 'button',
    'aria-label': `${group.name}: ${labels.closeGroup}`,
    'data-testid': 'jr-lanes',
    'data-group-id': group.id,
    'data-name': group.name
  });
  g.replaceChildren(
    make('title', {}, `${tally(node, labels)}\n${labels.closeGroup}`),
    make('rect', { class: 'jr-Node-body', width: box.width, height: box.height, rx: 4 }),
    make('path', { class: 'jr-Node-twisty', d: 'M8 11h8l-4 5z' }),
    make(
      'text',
      { class: 'jr-Node-name', x: 21, y: 17 },
      clipName(displayName(group), box.width - 40 - CHARACTER * short(total).length)
    ),
    make('text', { class: 'jr-Node-total', x: box.width - 8, y: 17 }, `×${short(total)}`)
  );
  if (folded > 0) {
    g.append(make('text', { class: 'jr-Node-note', x: 8, y: 33 }, labels.folded(folded)));
  }
}

function bar(counts: readonly [TaskState, number][], total: number, width: number): SVGElement[] {
  let x = 8;
  return counts.map(([state, count]) => {
    const part = (width * count) / Math.max(1, total);
    const rect = make('rect', {
      class: `jr-Node-bar jr-state-${state}`,
      x: x.toFixed(1),
      y: 36,
      width: part.toFixed(1),
      height: 4
    });
    x += part;
    return rect;
  });
}

/** A task inside an opened group. */
export function drawCell(g: SVGElement, { task, box, ordinal }: Cell, labels: Labels): void {
  identify(g, task);
  const label = labelOf(task, labels, `${task.name} ${ordinal}`);
  set(g, {
    class: `jr-Node jr-Node-cell jr-state-${task.state}`,
    role: 'button',
    'aria-label': label
  });
  g.replaceChildren(
    make('title', {}, `${label}\n${task.id}`),
    make('rect', { class: 'jr-Node-body', width: box.width, height: box.height, rx: 3 }),
    glyph(task.state, 4, 3, 12),
    make('text', { class: 'jr-Node-note', x: 19, y: 13 }, `#${ordinal}`)
  );
}

/** Whether the look of a task changes with time alone. */
export function ticks(task: Task): boolean {
  return task.started !== null && !isEnded(task);
}

/** A curve that leaves and arrives along the direction of the graph; in an outline, lines with round corners. */
function curve(points: readonly Point[], direction: Direction): string {
  if (direction === 'outline') {
    return angular(points);
  }
  return points
    .map(({ x, y }, index) => {
      const previous = points[index - 1];
      if (previous === undefined) {
        return `M${round(x)} ${round(y)}`;
      }
      const mid = direction === 'LR' ? (previous.x + x) / 2 : (previous.y + y) / 2;
      const bends = direction === 'LR' ? [mid, previous.y, mid, y] : [previous.x, mid, x, mid];
      return `C${[...bends, x, y].map(round).join(' ')}`;
    })
    .join('');
}

function angular(points: readonly Point[]): string {
  return points
    .map((point, index) => {
      const [before, after] = [points[index - 1], points[index + 1]];
      if (before === undefined || after === undefined) {
        return `${before === undefined ? 'M' : 'L'}${round(point.x)} ${round(point.y)}`;
      }
      const [near, far] = [towards(point, before), towards(point, after)];
      return `L${near.map(round).join(' ')}Q${[point.x, point.y, ...far].map(round).join(' ')}`;
    })
    .join('');
}

/** Where the rounding of a corner begins. */
function towards(corner: Point, other: Point): [number, number] {
  const [dx, dy] = [other.x - corner.x, other.y - corner.y];
  const share = Math.min(0.5, CORNER / Math.max(1, Math.hypot(dx, dy)));
  return [corner.x + share * dx, corner.y + share * dy];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function drawEdge(path: SVGElement, { link, points, direction, joins }: Route): void {
  const d = curve(points, direction);
  set(path, {
    class: `jr-Edge jr-mod-${link.kind}`,
    'data-edge': link.kind,
    'data-source': link.source,
    'data-target': link.target,
    d
  });
  // Dashes that lie upon one another must be in step, or they fill the gaps.
  const length = joins === true ? (path as SVGPathElement).getTotalLength() : 0;
  path.style.setProperty('--jr-step', length.toFixed(1));
}
