/** The whole panel, for one state of the monitor. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { RayState } from '../reducer';
import type { Link } from '../tokens';
import { Actors } from './actors';
import { PanelContext } from './common';
import { Details } from './details';
import { Header, Welcome } from './header';
import { Resources } from './resources';
import { Tasks } from './tasks';
import { INITIAL_VIEW, reduceView } from './view';

export interface AppProps {
  readonly link: Link;
  readonly state: RayState | null;
  readonly problem: string | null;
  readonly trans: TranslationBundle;
  readonly paused: boolean;
  readonly now: () => number;
  readonly onCancel: (task: string, force: boolean) => void;
  /** Called after each redraw. */
  readonly onDrawn: (state: RayState | null) => void;
}

export function App(props: AppProps): React.ReactElement {
  const { state, link, trans, paused, now, onDrawn, onCancel } = props;
  const [view, dispatch] = React.useReducer(reduceView, INITIAL_VIEW);
  const surroundings = React.useMemo(() => ({ trans, now, paused }), [trans, now, paused]);
  const select = React.useCallback((id: string | null) => {
    dispatch({ type: 'select', id });
  }, []);
  React.useEffect(() => {
    onDrawn(state);
  });

  const isThere = state !== null && (state.runtime.state !== 'absent' || state.groups.size > 0);
  return (
    <PanelContext.Provider value={surroundings}>
      <Header link={link} runtime={state?.runtime ?? null} problem={props.problem} />
      {isThere ? (
        <>
          <div className="jr-Body">
            <Tasks state={state} view={view} dispatch={dispatch} />
            <Actors actors={state.actors} onSelect={select} />
            <Resources resources={state.resources} nodes={state.nodes} onSelect={select} />
          </div>
          <Details state={state} selected={view.selected} onSelect={select} onCancel={onCancel} />
        </>
      ) : (
        <Welcome link={link} />
      )}
    </PanelContext.Provider>
  );
}
