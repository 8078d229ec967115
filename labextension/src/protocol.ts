/**
 * What the kernel and the panel say to each other: see `docs/panel-protocol.md`.
 *
 * Every type is derived from the decoder that checks it, so the two cannot drift apart. Unknown fields are dropped, so
 * that a newer kernel may say more; a missing or ill-typed one is an error that names its path.
 */

export const COMM_ID = 'jupyter_ray';
export const PROTOCOL_VERSION = 1;

/** The kernel said something that this panel does not understand. */
export class ProtocolError extends Error {
  constructor(
    readonly reason: string,
    readonly path: readonly (string | number)[] = []
  ) {
    super(path.length > 0 ? `${path.join('.')}: ${reason}` : reason);
    this.name = 'ProtocolError';
  }
}

type Decoder<T> = (value: unknown) => T;
type Decoded<D> = D extends Decoder<infer T> ? T : never;
type Shape = Record<string, Decoder<unknown>>;

/** Runs a decoder on a part of a value; an error learns where that part lies. */
function at<T>(key: string | number, decode: Decoder<T>, value: unknown): T {
  try {
    return decode(value);
  } catch (error) {
    if (error instanceof ProtocolError) {
      throw new ProtocolError(error.reason, [key, ...error.path]);
    }
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const text: Decoder<string> = value => {
  if (typeof value !== 'string') {
    throw new ProtocolError('expected a string');
  }
  return value;
};

const number: Decoder<number> = value => {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new ProtocolError('expected a number');
  }
  return value;
};

const integer: Decoder<number> = value => {
  if (!Number.isSafeInteger(value)) {
    throw new ProtocolError('expected an integer');
  }
  return value as number;
};

function oneOf<const T extends readonly string[]>(...names: T): Decoder<T[number]> {
  const known = new Set<unknown>(names);
  return value => {
    if (!known.has(value)) {
      throw new ProtocolError(`expected one of ${names.join(', ')}`);
    }
    return value as T[number];
  };
}

function nullable<T>(decode: Decoder<T>): Decoder<T | null> {
  return value => (value === null ? null : decode(value));
}

function optional<T>(decode: Decoder<T>, missing: T): Decoder<T> {
  return value => (value === undefined ? missing : decode(value));
}

function list<T>(decode: Decoder<T>): Decoder<readonly T[]> {
  return value => {
    if (!Array.isArray(value)) {
      throw new ProtocolError('expected a list');
    }
    return value.map((item, index) => at(index, decode, item));
  };
}

function table<T>(decode: Decoder<T>): Decoder<Readonly<Record<string, T>>> {
  return value => {
    if (!isRecord(value)) {
      throw new ProtocolError('expected an object');
    }
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, at(key, decode, item)])
    );
  };
}

function object<S extends Shape>(shape: S): Decoder<{ readonly [K in keyof S]: Decoded<S[K]> }> {
  const fields = Object.entries(shape);
  return value => {
    if (!isRecord(value)) {
      throw new ProtocolError('expected an object');
    }
    const result: Record<string, unknown> = {};
    for (const [key, decode] of fields) {
      result[key] = at(key, decode, value[key]);
    }
    return result as { readonly [K in keyof S]: Decoded<S[K]> };
  };
}

const amounts = table(number);
const ids = list(text);

export const TASK_STATES = [
  'waiting',
  'pending',
  'running',
  'blocked',
  'finished',
  'failed',
  'cancelled'
] as const;
const ACTOR_STATES = ['pending', 'starting', 'alive', 'restarting', 'dead'] as const;

const taskState = oneOf(...TASK_STATES);
const taskKind = oneOf('task', 'method', 'actor');

const runtime = object({
  state: oneOf('absent', 'starting', 'warm', 'ready', 'stopped', 'dead'),
  engine: oneOf('local', 'ray'),
  message: text,
  pid: nullable(integer),
  since: nullable(number),
  dropped: integer
});

const task = object({
  id: text,
  name: text,
  kind: taskKind,
  state: taskState,
  parent: nullable(text),
  group: text,
  deps: ids,
  actor: nullable(text),
  worker: nullable(text),
  node: nullable(text),
  cell: nullable(text),
  demand: amounts,
  held: amounts,
  lent: amounts,
  gpus: ids,
  waits_for: ids,
  attempt: integer,
  error: nullable(text),
  submitted: nullable(number),
  started: nullable(number),
  ended: nullable(number)
});

const group = object({
  id: text,
  name: text,
  kind: taskKind,
  parent: nullable(text),
  deps: ids,
  actor: nullable(text),
  counts: table(integer),
  cell: nullable(text),
  folded: integer,
  first: number,
  last: number
});

const actor = object({
  id: text,
  name: nullable(text),
  class_name: text,
  state: oneOf(...ACTOR_STATES),
  queue: integer,
  running: integer,
  finished: integer,
  worker: nullable(text),
  pid: nullable(integer),
  node: nullable(text),
  held: amounts,
  gpus: ids,
  restarts: integer,
  holders: list(
    object({
      id: text,
      kind: oneOf('driver', 'task', 'actor', 'object'),
      label: text,
      count: integer
    })
  ),
  error: nullable(text),
  reason: optional(nullable(text), null),
  parent: nullable(text),
  created: number
});

const resource = object({
  id: text,
  name: text,
  node: nullable(text),
  kind: oneOf('CPU', 'GPU', 'other'),
  total: number,
  used: number,
  holders: list(object({ id: text, kind: oneOf('task', 'actor'), label: text, amount: number })),
  lent: list(object({ id: text, label: text, amount: number }))
});

const worker = object({
  id: text,
  pid: nullable(integer),
  node: nullable(text),
  state: oneOf('starting', 'idle', 'busy', 'actor', 'blocked', 'dead'),
  task: nullable(text),
  actor: nullable(text),
  started: number
});

const node = object({ id: text, name: text });

const snapshot = object({
  type: oneOf('snapshot'),
  epoch: text,
  seq: integer,
  state: object({
    runtime,
    tasks: list(task),
    groups: list(group),
    actors: list(actor),
    resources: list(resource),
    workers: list(worker),
    nodes: list(node)
  })
});

const removed = optional(ids, []);

const delta = object({
  type: oneOf('delta'),
  epoch: text,
  seq: integer,
  base: integer,
  upsert: object({
    runtime: optional<Runtime | null>(runtime, null),
    tasks: optional(list(task), []),
    groups: optional(list(group), []),
    actors: optional(list(actor), []),
    resources: optional(list(resource), []),
    workers: optional(list(worker), []),
    nodes: optional(list(node), [])
  }),
  remove: object({
    tasks: removed,
    groups: removed,
    actors: removed,
    resources: removed,
    workers: removed,
    nodes: removed
  })
});

export type Runtime = Decoded<typeof runtime>;
export type RuntimeState = Runtime['state'];
export type Task = Decoded<typeof task>;
export type TaskState = Task['state'];
export type Group = Decoded<typeof group>;
export type Actor = Decoded<typeof actor>;
export type ActorState = Actor['state'];
export type Resource = Decoded<typeof resource>;
export type Worker = Decoded<typeof worker>;
export type Node = Decoded<typeof node>;
export type Snapshot = Decoded<typeof snapshot>;
export type Delta = Decoded<typeof delta>;
export type KernelMessage = Snapshot | Delta;

export type PanelMessage =
  | { type: 'hello'; client: string }
  | { type: 'ack'; client: string; epoch: string; seq: number }
  | { type: 'bye'; client: string }
  | { type: 'cancel'; client: string; task: string; force: boolean };

/**
 * Checks and types one message of the kernel.
 *
 * @throws ProtocolError if it is not one that this panel understands.
 */
export function parseKernelMessage(data: unknown): KernelMessage {
  if (!isRecord(data)) {
    throw new ProtocolError('expected an object');
  }
  if (data['version'] !== PROTOCOL_VERSION) {
    throw new ProtocolError(`expected protocol version ${PROTOCOL_VERSION}`, ['version']);
  }
  switch (data['type']) {
    case 'snapshot':
      return snapshot(data);
    case 'delta':
      return delta(data);
    default:
      throw new ProtocolError('expected snapshot or delta', ['type']);
  }
}
