/**
 * Folds the kernel's messages into the state that the panel draws. Pure: a state is never changed, a new one shares
 * with the old one every table that no message touched, so that a view can tell by identity what to draw again.
 */

import type {
  Actor,
  Delta,
  Group,
  KernelMessage,
  Node,
  Resource,
  Runtime,
  Task,
  Worker
} from './protocol';

export type Table<T> = ReadonlyMap<string, T>;

export interface RayState {
  readonly epoch: string;
  readonly seq: number;
  readonly runtime: Runtime;
  readonly tasks: Table<Task>;
  readonly groups: Table<Group>;
  readonly actors: Table<Actor>;
  readonly resources: Table<Resource>;
  readonly workers: Table<Worker>;
  /** The machines of a cluster; empty if there is only one. */
  readonly nodes: Table<Node>;
}

/** A `gap` leaves the state as it was and asks for a snapshot; a `stale` message is one that the state already holds. */
export interface Outcome {
  readonly kind: 'applied' | 'gap' | 'stale';
  readonly state: RayState | null;
}

interface Row {
  readonly id: string;
}

function byId<T extends Row>(rows: readonly T[]): Table<T> {
  return new Map(rows.map(row => [row.id, row]));
}

/** Rows keep their place: a changed row stays where it was, a new one comes last. */
function changed<T extends Row>(
  table: Table<T>,
  upsert: readonly T[],
  remove: readonly string[]
): Table<T> {
  if (upsert.length === 0 && !remove.some(id => table.has(id))) {
    return table;
  }
  const next = new Map(table);
  for (const row of upsert) {
    next.set(row.id, row);
  }
  for (const id of remove) {
    next.delete(id);
  }
  return next;
}

function applyDelta(state: RayState, { epoch, seq, upsert, remove }: Delta): RayState {
  return {
    epoch,
    seq,
    runtime: upsert.runtime ?? state.runtime,
    tasks: changed(state.tasks, upsert.tasks, remove.tasks),
    groups: changed(state.groups, upsert.groups, remove.groups),
    actors: changed(state.actors, upsert.actors, remove.actors),
    resources: changed(state.resources, upsert.resources, remove.resources),
    workers: changed(state.workers, upsert.workers, remove.workers),
    nodes: changed(state.nodes, upsert.nodes, remove.nodes)
  };
}

/** Applies one message; `state` is null before the first snapshot. */
export function reduce(state: RayState | null, message: KernelMessage): Outcome {
  if (message.type === 'snapshot') {
    const { epoch, seq, state: rows } = message;
    return {
      kind: 'applied',
      state: {
        epoch,
        seq,
        runtime: rows.runtime,
        tasks: byId(rows.tasks),
        groups: byId(rows.groups),
        actors: byId(rows.actors),
        resources: byId(rows.resources),
        workers: byId(rows.workers),
        nodes: byId(rows.nodes)
      }
    };
  }
  if (state === null || message.epoch !== state.epoch) {
    return { kind: 'gap', state };
  }
  // A delta that was on its way when the snapshot was taken: the snapshot holds it.
  if (message.seq <= state.seq) {
    return { kind: 'stale', state };
  }
  if (message.base !== state.seq) {
    return { kind: 'gap', state };
  }
  return { kind: 'applied', state: applyDelta(state, message) };
}
