/** Rows for tests: whole, with what matters overridden. */

import {
  PROTOCOL_VERSION,
  type Actor,
  type Group,
  type Resource,
  type Runtime,
  type Task,
  type TaskState
} from '../protocol';
import { reduce, type RayState } from '../reducer';
import { parseKernelMessage } from '../protocol';

export function task(id: string, more: Partial<Task> = {}): Task {
  return {
    id,
    name: 'f',
    kind: 'task',
    state: 'pending',
    parent: null,
    group: 'g',
    deps: [],
    actor: null,
    worker: null,
    node: null,
    cell: null,
    demand: { CPU: 1 },
    held: {},
    lent: {},
    gpus: [],
    waits_for: [],
    attempt: 0,
    error: null,
    submitted: 1,
    started: null,
    ended: null,
    ...more
  };
}

export function group(id: string, more: Partial<Group> = {}): Group {
  return {
    id,
    name: 'f',
    kind: 'task',
    parent: null,
    deps: [],
    actor: null,
    counts: { pending: 1 },
    cell: null,
    folded: 0,
    first: 1,
    last: 1,
    ...more
  };
}

export function actor(id: string, more: Partial<Actor> = {}): Actor {
  return {
    id,
    name: null,
    class_name: 'Counter',
    state: 'alive',
    queue: 0,
    running: 0,
    finished: 0,
    worker: null,
    pid: null,
    node: null,
    held: {},
    gpus: [],
    restarts: 0,
    holders: [],
    error: null,
    reason: null,
    parent: null,
    created: 1,
    ...more
  };
}

export function resource(name: string, node: string | null = null): Resource {
  const kind = name === 'CPU' || name === 'GPU' ? name : 'other';
  const id = node === null ? name : `${node}/${name}`;
  return { id, name, node, kind, total: 2, used: 0, holders: [], lent: [] };
}

export const RUNTIME: Runtime = {
  state: 'ready',
  engine: 'local',
  message: '',
  pid: 1,
  since: 1,
  dropped: 0
};

export interface Rows {
  runtime?: Runtime;
  tasks?: Task[];
  groups?: Group[];
  actors?: Actor[];
}

/** A snapshot as it comes from the kernel. */
export function snapshot(seq = 1, rows: Rows = {}, epoch = 'e1'): object {
  return {
    type: 'snapshot',
    version: PROTOCOL_VERSION,
    epoch,
    seq,
    state: {
      runtime: RUNTIME,
      tasks: [],
      groups: [],
      actors: [],
      resources: [],
      workers: [],
      nodes: [],
      ...rows
    }
  };
}

/** A delta as it comes from the kernel. */
export function delta(
  seq: number,
  upsert: Rows = {},
  remove: Record<string, string[]> = {},
  epoch = 'e1'
): object {
  return { type: 'delta', version: PROTOCOL_VERSION, epoch, seq, base: seq - 1, upsert, remove };
}

export function stateOf(rows: Rows): RayState {
  const { state } = reduce(null, parseKernelMessage(snapshot(1, rows)));
  if (state === null) {
    throw new Error('a snapshot makes a state');
  }
  return state;
}

/** `count` tasks, each called by one of those before it. */
export function forest(count: number, state: TaskState = 'pending'): Task[] {
  return Array.from({ length: count }, (_, i) =>
    task(`t${i}`, { state, parent: i === 0 ? null : `t${Math.floor((i - 1) / 4)}` })
  );
}
