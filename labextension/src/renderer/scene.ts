/**
 * What the graph view shows: the state of the runtime, as nodes and edges with places. It knows no DOM. Places are
 * calculated anew only when the topology changes; a change of state alone moves nothing.
 */

import { clipName, textWidth } from '../format';
import type { Box, Link, NodeSize } from '../geometry';
import { Lanes } from '../lanes';
import { layoutGraph, type Layout } from '../layout';
import { TASK_STATES, type Group, type Task, type TaskState } from '../protocol';
import type { RayState } from '../reducer';

/** Up to this many tasks, each is drawn by itself. */
export const SINGLES_LIMIT = 60;
/** Where there are more, those of groups up to this size still are, while the picture has not too many nodes. */
const SMALL_GROUP = 8;
/** Up to this many, that may be asked for. */
export const SINGLES_MAXIMUM = 400;

export type Grouping = 'auto' | 'tasks' | 'groups';

export interface SceneOptions {
  readonly grouping: Grouping;
  readonly opened: ReadonlySet<string>;
  /** Ended work up to this time (Unix seconds) is left out. */
  readonly clearedAt: number;
  /** How wide the place is that the graph should fill. */
  readonly width: number;
}

export interface TaskNode {
  readonly kind: 'task';
  readonly key: string;
  readonly box: Box;
  readonly task: Task;
}

export interface Cell {
  readonly task: Task;
  readonly box: Box;
  readonly ordinal: number;
}

export interface GroupNode {
  readonly kind: 'group';
  readonly key: string;
  readonly box: Box;
  readonly group: Group;
  readonly total: number;
  readonly open: boolean;
}

/** The tasks of an opened group. They lie below the graph, so that to open a group moves none of its nodes. */
export interface LaneBox {
  readonly kind: 'lanes';
  readonly key: string;
  readonly box: Box;
  readonly group: Group;
  readonly total: number;
  /** Those that are counted and no more. */
  readonly folded: number;
  readonly cells: readonly Cell[];
}

export type SceneNode = TaskNode | GroupNode | LaneBox;

export interface Scene {
  readonly grouped: boolean;
  readonly width: number;
  readonly height: number;
  readonly layout: Layout;
  readonly nodes: readonly SceneNode[];
}

const TASK_HEIGHT = 34;
const GROUP = { width: 128, height: 46 };
const LANE = { width: 56, most: 24, least: 3, gap: 4, height: 20, pad: 8, head: 28, note: 16 };
const MARGIN = 8;
const ENDED: ReadonlySet<string> = new Set<TaskState>(['finished', 'failed', 'cancelled']);

export function isEnded(task: Task): boolean {
  return ENDED.has(task.state);
}

function isTaskHidden(task: Task, clearedAt: number): boolean {
  return isEnded(task) && (task.ended ?? task.submitted ?? 0) <= clearedAt;
}

export function visibleTasks(state: RayState, clearedAt: number): Task[] {
  const tasks = [...state.tasks.values()];
  return clearedAt > 0 ? tasks.filter(task => !isTaskHidden(task, clearedAt)) : tasks;
}

function isGroupHidden(group: Group, clearedAt: number): boolean {
  return (
    group.last <= clearedAt &&
    Object.entries(group.counts).every(([state, count]) => count === 0 || ENDED.has(state))
  );
}

export function total(group: Group): number {
  return Object.values(group.counts).reduce((sum, count) => sum + count, 0);
}

/** The states that a group has tasks in, in the order of a task's life. */
export function countsOf(group: Group): [TaskState, number][] {
  return TASK_STATES.flatMap(state => {
    const count = group.counts[state] ?? 0;
    return count > 0 ? [[state, count] as [TaskState, number]] : [];
  });
}

/** `Counter()` for the task that makes a `Counter`. */
export function displayName({ name, kind }: Task | Group): string {
  return kind === 'actor' ? name.replace(/\.__init__$/, '()') : name;
}

const TASK_WIDTH = { least: 80, most: 120, aside: 34 };

/** As wide as what is shown of the name. */
function taskWidth(task: Task): number {
  const { least, most, aside } = TASK_WIDTH;
  const name = clipName(displayName(task), most - aside);
  return Math.round(Math.min(most, Math.max(least, aside + textWidth(name))));
}

/** Keeps the layout and the lanes from one state to the next. */
export class SceneBuilder {
  build(state: RayState, options: SceneOptions): Scene {
    if (state.epoch !== this._epoch) {
      this._epoch = state.epoch;
      this._lanes.clear();
      this._layout = null;
      this._topology = '';
    }
    const tasks = visibleTasks(state, options.clearedAt);
    const joined = joinedGroups(state, tasks, options);
    const sizes: NodeSize[] = [];
    for (const row of rowsInOrder(tasks, joined)) {
      const size = 'counts' in row ? GROUP : { width: taskWidth(row), height: TASK_HEIGHT };
      sizes.push({ id: row.id, ...size });
    }
    const layout = this._place(sizes, linksOf(state, tasks, joined), options.width);
    const nodes = sizes.flatMap(({ id }): SceneNode[] => {
      const box = layout.boxes.get(id);
      const group = joined.get(id);
      const task = state.tasks.get(id);
      if (box !== undefined && group !== undefined) {
        const open = options.opened.has(id);
        const key = `group ${id}`;
        return [{ kind: 'group', key, box, group, total: total(group), open }];
      }
      return box !== undefined && task !== undefined
        ? [{ kind: 'task', key: `task ${id}`, box, task }]
        : [];
    });
    const opened = [...options.opened].filter(id => joined.has(id));
    const lanes = this._openedLanes(state, tasks, new Set(opened), layout.height, options.width);
    const right = lanes.map(lane => lane.box.x + lane.box.width + MARGIN);
    const bottom = lanes.map(lane => lane.box.y + lane.box.height + MARGIN);
    return {
      grouped: joined.size > 0,
      width: Math.max(layout.width, ...right),
      height: Math.max(layout.height, ...bottom),
      layout,
      nodes: [...nodes, ...lanes]
    };
  }

  /** The opened groups, one below the other in the order in which they were opened. */
  private _openedLanes(
    state: RayState,
    tasks: readonly Task[],
    opened: ReadonlySet<string>,
    top: number,
    available: number
  ): LaneBox[] {
    for (const id of this._lanes.keys()) {
      if (!opened.has(id)) {
        this._lanes.delete(id);
      }
    }
    if (opened.size === 0) {
      return [];
    }
    const members = new Map<string, Task[]>([...opened].map(id => [id, []]));
    for (const task of tasks) {
      members.get(task.group)?.push(task);
    }
    const columns = laneColumns(available);
    const step = Math.max(LANE.width, Math.floor(laneRoom(available) / columns));
    let y = top;
    return [...members].flatMap(([id, inside]): LaneBox[] => {
      const group = state.groups.get(id);
      if (group === undefined) {
        return [];
      }
      const lanes = this._synced(id, inside, columns);
      const width = columns * step + 2 * LANE.pad - LANE.gap;
      const head = LANE.head + (group.folded > 0 ? LANE.note : 0);
      const rows = inside.length === 0 ? 0 : lanes.rows;
      const height = head + rows * LANE.height + (rows > 0 ? LANE.pad : 0);
      const box = { x: MARGIN, y, width, height };
      y += height + MARGIN;
      const cells = cellsOf(lanes, box, head, step, inside);
      const { folded } = group;
      return [
        { kind: 'lanes', key: `lanes ${id}`, box, group, total: total(group), folded, cells }
      ];
    });
  }

  private _synced(group: string, members: readonly Task[], columns: number): Lanes {
    let lanes = this._lanes.get(group);
    if (lanes === undefined) {
      lanes = new Lanes(columns);
      this._lanes.set(group, lanes);
    }
    lanes.columns = columns;
    lanes.sync(members.map(task => task.id));
    return lanes;
  }

  private _place(sizes: readonly NodeSize[], links: readonly Link[], width: number): Layout {
    const topology = JSON.stringify([
      width,
      sizes.map(({ id, width, height }) => [id, width, height]),
      links.map(({ source, target, kind }) => [source, target, kind])
    ]);
    if (this._layout === null || topology !== this._topology) {
      this._layout = layoutGraph(sizes, links, width, this._layout);
      this._topology = topology;
    }
    return this._layout;
  }

  private _epoch = '';
  private _lanes = new Map<string, Lanes>();
  private _layout: Layout | null = null;
  private _topology = '';
}

/** What the tasks of an opened group have side by side, of the width there is. */
function laneRoom(available: number): number {
  return available - 2 * MARGIN - 2 * LANE.pad + LANE.gap;
}

function laneColumns(available: number): number {
  const fit = Math.floor(laneRoom(available) / LANE.width);
  return Math.min(LANE.most, Math.max(LANE.least, fit));
}

function cellsOf(
  lanes: Lanes,
  box: Box,
  head: number,
  step: number,
  members: readonly Task[]
): Cell[] {
  return members.flatMap((task): Cell[] => {
    const cell = lanes.cell(task.id);
    if (cell === null) {
      return [];
    }
    const x = box.x + LANE.pad + cell.column * step;
    const y = box.y + head + cell.row * LANE.height;
    const place = { x, y, width: step - LANE.gap, height: LANE.height - 2 };
    return [{ task, box: place, ordinal: lanes.ordinal(task.id) }];
  });
}

/** The groups that are drawn as one node each. */
function joinedGroups(
  state: RayState,
  tasks: readonly Task[],
  { grouping, clearedAt }: SceneOptions
): Map<string, Group> {
  const groups = [...state.groups.values()].filter(group => !isGroupHidden(group, clearedAt));
  const byId = (list: readonly Group[]): Map<string, Group> =>
    new Map(list.map(group => [group.id, group]));
  const folded = state.runtime.dropped > 0 && clearedAt === 0;
  switch (grouping) {
    case 'groups':
      return byId(groups);
    case 'tasks':
      return tasks.length > SINGLES_MAXIMUM ? byId(groups) : new Map<string, Group>();
    case 'auto':
      return tasks.length <= SINGLES_LIMIT && !folded
        ? new Map<string, Group>()
        : byId(largeGroups(groups));
  }
}

/** All but the small groups; all, if the tasks of those would be too many. */
function largeGroups(groups: readonly Group[]): readonly Group[] {
  const large = groups.filter(group => group.folded > 0 || total(group) > SMALL_GROUP);
  const all = new Set(large);
  const singles = groups.reduce((sum, group) => sum + (all.has(group) ? 0 : total(group)), 0);
  return singles + large.length > SINGLES_LIMIT ? groups : large;
}

/**
 * What is drawn, in the order of arrival. A group comes where the first of its tasks was, also when that is folded away:
 * so a group of thousands that are all over at once is seen where what is new is looked for, and stays there.
 */
function rowsInOrder(tasks: readonly Task[], joined: ReadonlyMap<string, Group>): (Task | Group)[] {
  const rows: { row: Task | Group; time: number }[] = [];
  const present = new Set<Group>();
  let time = 0;
  for (const task of tasks) {
    time = Math.max(time, task.submitted ?? 0);
    const group = joined.get(task.group);
    if (group === undefined) {
      rows.push({ row: task, time });
    } else if (!present.has(group)) {
      present.add(group);
      rows.push({ row: group, time: group.first });
    }
  }
  const folded = [...joined.values()].filter(group => !present.has(group));
  const before = folded.map(group => ({ row: group, time: group.first }));
  return [...before, ...rows].sort((a, b) => a.time - b.time).map(({ row }) => row);
}

/** Edges between what is drawn: those of tasks, and those of groups where both ends are groups. */
function linksOf(
  state: RayState,
  tasks: readonly Task[],
  joined: ReadonlyMap<string, Group>
): Link[] {
  const links: Link[] = [];
  const seen = new Set<string>();
  const add = (source: string, target: string, kind: Link['kind']): void => {
    const key = `${kind} ${source} ${target}`;
    if (source !== target && !seen.has(key)) {
      seen.add(key);
      links.push({ source, target, kind });
    }
  };
  const nodeOf = (task: Task): string => (joined.has(task.group) ? task.group : task.id);
  const connect = (
    row: Task | Group,
    target: string,
    find: (id: string) => string | null
  ): void => {
    const caller = row.parent === null ? null : find(row.parent);
    if (caller !== null) {
      add(caller, target, 'call');
    }
    for (const id of row.deps) {
      const source = find(id);
      if (source !== null) {
        add(source, target, 'data');
      }
    }
  };
  for (const task of tasks) {
    connect(task, nodeOf(task), id => {
      const other = state.tasks.get(id);
      return other === undefined ? null : nodeOf(other);
    });
  }
  for (const group of joined.values()) {
    connect(group, group.id, id => (joined.has(id) ? id : null));
  }
  return links;
}
