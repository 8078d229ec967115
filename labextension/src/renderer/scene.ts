/**
 * What the graph view shows: the state of the runtime, as nodes and edges with places. It knows no DOM. Places are
 * calculated anew only when the topology changes; a change of state alone moves nothing.
 */

import { Lanes, layoutGraph, type Box, type Layout, type Link, type NodeSize } from '../layout';
import { TASK_STATES, type Group, type Task, type TaskState } from '../protocol';
import type { RayState } from '../reducer';

/** Up to this many tasks, each is drawn by itself. */
export const SINGLES_LIMIT = 60;
/** Up to this many, that may be asked for. */
export const SINGLES_MAXIMUM = 400;

export type Grouping = 'auto' | 'tasks' | 'groups';

export interface SceneOptions {
  readonly grouping: Grouping;
  readonly opened: ReadonlySet<string>;
  /** Ended work up to this time (Unix seconds) is left out. */
  readonly clearedAt: number;
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
const LANE = { columns: 5, width: 56, height: 20, pad: 8, head: 28 };
const MARGIN = 10;
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

function taskWidth(name: string): number {
  return Math.round(Math.min(150, Math.max(76, 34 + 6.6 * name.length)));
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
    return this._isGrouped(state, tasks, options.grouping)
      ? this._groups(state, tasks, options)
      : this._tasks(tasks);
  }

  private _isGrouped(state: RayState, tasks: readonly Task[], grouping: Grouping): boolean {
    switch (grouping) {
      case 'groups':
        return true;
      case 'tasks':
        return tasks.length > SINGLES_MAXIMUM;
      case 'auto': {
        const folded = state.runtime.dropped > 0 && tasks.length === state.tasks.size;
        return folded || tasks.length > SINGLES_LIMIT;
      }
    }
  }

  private _tasks(tasks: readonly Task[]): Scene {
    const sizes: NodeSize[] = [];
    const links: Link[] = [];
    for (const task of tasks) {
      sizes.push({ id: task.id, width: taskWidth(task.name), height: TASK_HEIGHT });
      pushLinks(links, task);
    }
    const layout = this._place('tasks', sizes, links);
    const nodes = tasks.flatMap((task): TaskNode[] => {
      const box = layout.boxes.get(task.id);
      return box ? [{ kind: 'task', key: `task ${task.id}`, box, task }] : [];
    });
    return { grouped: false, width: layout.width, height: layout.height, layout, nodes };
  }

  private _groups(state: RayState, tasks: readonly Task[], options: SceneOptions): Scene {
    const groups = [...state.groups.values()].filter(
      group => !isGroupHidden(group, options.clearedAt)
    );
    const sizes: NodeSize[] = [];
    const links: Link[] = [];
    for (const group of groups) {
      sizes.push({ id: group.id, ...GROUP });
      pushLinks(links, group);
    }
    const layout = this._place('groups', sizes, links);
    const nodes = groups.flatMap((group): SceneNode[] => {
      const box = layout.boxes.get(group.id);
      const open = options.opened.has(group.id);
      const key = `group ${group.id}`;
      return box ? [{ kind: 'group', key, box, group, total: total(group), open }] : [];
    });
    const lanes = this._openedLanes(state, tasks, options.opened, layout.height);
    const right = lanes.map(lane => lane.box.x + lane.box.width + MARGIN);
    const bottom = lanes.map(lane => lane.box.y + lane.box.height + MARGIN);
    return {
      grouped: true,
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
    top: number
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
    let y = top;
    return [...members].flatMap(([id, inside]): LaneBox[] => {
      const group = state.groups.get(id);
      if (group === undefined) {
        return [];
      }
      const lanes = this._synced(id, inside);
      const width = LANE.columns * LANE.width + 2 * LANE.pad - 4;
      const height = LANE.head + lanes.rows * LANE.height + LANE.pad;
      const box = { x: MARGIN, y, width, height };
      y += height + MARGIN;
      const cells = cellsOf(lanes, box, inside);
      return [{ kind: 'lanes', key: `lanes ${id}`, box, group, total: total(group), cells }];
    });
  }

  private _synced(group: string, members: readonly Task[]): Lanes {
    let lanes = this._lanes.get(group);
    if (lanes === undefined) {
      lanes = new Lanes(LANE.columns);
      this._lanes.set(group, lanes);
    }
    lanes.sync(members.map(task => task.id));
    return lanes;
  }

  private _place(view: string, sizes: readonly NodeSize[], links: readonly Link[]): Layout {
    const topology = JSON.stringify([
      view,
      sizes.map(({ id, width, height }) => [id, width, height]),
      links.map(({ source, target, kind }) => [source, target, kind])
    ]);
    if (this._layout === null || topology !== this._topology) {
      this._layout = layoutGraph(sizes, links, this._layout?.direction ?? null);
      this._topology = topology;
    }
    return this._layout;
  }

  private _epoch = '';
  private _lanes = new Map<string, Lanes>();
  private _layout: Layout | null = null;
  private _topology = '';
}

function cellsOf(lanes: Lanes, box: Box, members: readonly Task[]): Cell[] {
  return members.flatMap((task): Cell[] => {
    const cell = lanes.cell(task.id);
    if (cell === null) {
      return [];
    }
    const x = box.x + LANE.pad + cell.column * LANE.width;
    const y = box.y + LANE.head + cell.row * LANE.height;
    const place = { x, y, width: LANE.width - 4, height: LANE.height - 2 };
    return [{ task, box: place, ordinal: lanes.ordinal(task.id) }];
  });
}

function pushLinks(links: Link[], row: Task | Group): void {
  if (row.parent !== null) {
    links.push({ source: row.parent, target: row.id, kind: 'call' });
  }
  for (const source of row.deps) {
    links.push({ source, target: row.id, kind: 'data' });
  }
}
