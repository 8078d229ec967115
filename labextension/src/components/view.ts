/** What the user has chosen to see. Pure. */

import type { Grouping } from '../renderer/scene';

export interface ViewState {
  readonly mode: 'graph' | 'list';
  readonly grouping: Grouping;
  readonly opened: ReadonlySet<string>;
  readonly selected: string | null;
  readonly zoom: number | 'fit';
  /** Ended work up to this time of this epoch is hidden. */
  readonly cleared: { readonly epoch: string; readonly at: number };
}

export type ViewAction =
  | { type: 'mode'; mode: ViewState['mode'] }
  | { type: 'grouping'; grouping: Grouping }
  | { type: 'group'; id: string }
  | { type: 'select'; id: string | null }
  | { type: 'zoom'; zoom: ViewState['zoom'] }
  | { type: 'clear'; epoch: string; at: number };

export const INITIAL_VIEW: ViewState = {
  mode: 'graph',
  grouping: 'auto',
  opened: new Set(),
  selected: null,
  zoom: 'fit',
  cleared: { epoch: '', at: 0 }
};

export const ZOOM_MINIMUM = 0.3;
export const ZOOM_MAXIMUM = 2;

export function reduceView(view: ViewState, action: ViewAction): ViewState {
  switch (action.type) {
    case 'mode':
      return { ...view, mode: action.mode };
    case 'grouping':
      return { ...view, grouping: action.grouping };
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
      return { ...view, selected: null, cleared: { epoch: action.epoch, at: action.at } };
  }
}
