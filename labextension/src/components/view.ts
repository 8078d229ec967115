/** What the user has chosen to see. Pure. */

import { TASK_STATES, type TaskState } from '../protocol';
import type { Grouping } from '../renderer/scene';

/** The parts of the panel that can be folded away. */
export type Part = 'tasks' | 'actors' | 'resources' | 'legend';
const PARTS: readonly Part[] = ['tasks', 'actors', 'resources', 'legend'];

export interface ViewState {
  readonly mode: 'graph' | 'list';
  readonly grouping: Grouping;
  readonly opened: ReadonlySet<string>;
  readonly selected: string | null;
  readonly zoom: number | 'fit';
  /** What the list shows. */
  readonly filter: TaskState | 'all';
  readonly closed: ReadonlySet<Part>;
  /** Ended work up to this time of this epoch is hidden, and the actors that were dead then. */
  readonly cleared: {
    readonly epoch: string;
    readonly at: number;
    readonly actors: ReadonlySet<string>;
  };
}

export type ViewAction =
  | { type: 'mode'; mode: ViewState['mode'] }
  | { type: 'grouping'; grouping: Grouping }
  | { type: 'group'; id: string }
  | { type: 'select'; id: string | null }
  | { type: 'zoom'; zoom: ViewState['zoom'] }
  | { type: 'filter'; filter: ViewState['filter'] }
  | { type: 'part'; part: Part }
  | { type: 'clear'; epoch: string; at: number; actors?: Iterable<string> };

export const INITIAL_VIEW: ViewState = {
  mode: 'graph',
  grouping: 'auto',
  opened: new Set(),
  selected: null,
  zoom: 'fit',
  filter: 'all',
  closed: new Set(),
  cleared: { epoch: '', at: 0, actors: new Set() }
};

/** What of it is remembered from one visit of the page to the next. */
export function remember({ mode, closed }: ViewState): string {
  return JSON.stringify({ mode, closed: [...closed] });
}

/** The view that is remembered; what cannot be read is as it is at first. */
export function recall(text: string | null): ViewState {
  let kept: unknown = null;
  try {
    kept = JSON.parse(text ?? 'null');
  } catch {
    // Somebody else has written there.
  }
  const { mode, closed } = (typeof kept === 'object' && kept !== null ? kept : {}) as Record<
    string,
    unknown
  >;
  return {
    ...INITIAL_VIEW,
    mode: mode === 'list' ? 'list' : 'graph',
    closed: new Set(PARTS.filter(part => Array.isArray(closed) && closed.includes(part)))
  };
}

/** `all`, or the state that a text names. */
export function filterOf(text: string): ViewState['filter'] {
  return TASK_STATES.find(state => state === text) ?? 'all';
}

const ZOOM_MINIMUM = 0.3;
export const ZOOM_MAXIMUM = 2;

export function reduceView(view: ViewState, action: ViewAction): ViewState {
  switch (action.type) {
    case 'mode':
      return { ...view, mode: action.mode };
    case 'grouping':
      return { ...view, grouping: action.grouping };
    case 'filter':
      return { ...view, filter: action.filter };
    case 'part': {
      const closed = new Set(view.closed);
      if (!closed.delete(action.part)) {
        closed.add(action.part);
      }
      return { ...view, closed };
    }
    case 'group': {
      const opened = new Set(view.opened);
      if (!opened.delete(action.id)) {
        opened.add(action.id);
      }
      return { ...view, opened };
    }
    case 'select':
      return { ...view, selected: action.id };
    case 'zoom': {
      const { zoom } = action;
      const bounded = zoom === 'fit' ? zoom : Math.min(ZOOM_MAXIMUM, Math.max(ZOOM_MINIMUM, zoom));
      return { ...view, zoom: bounded };
    }
    case 'clear':
      return {
        ...view,
        selected: null,
        cleared: { epoch: action.epoch, at: action.at, actors: new Set(action.actors) }
      };
  }
}
