/** The whole panel, for one state of the monitor. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { RayState } from '../reducer';
import type { Link, Lost } from '../tokens';
import { Actors } from './actors';
import { FoldContext, PanelContext } from './common';
import { Details } from './details';
import { Header, Welcome, type Place } from './header';
import { Resources } from './resources';
import { Tasks } from './tasks';
import { recall, reduceView, remember, type Part } from './view';

/** Keeps a text from one visit of the page to the next. */
export interface Memory {
  read(): string | null;
  write(text: string): void;
}

const NONE: ReadonlySet<string> = new Set();

export interface AppProps {
  readonly link: Link;
  readonly state: RayState | null;
  readonly problem: string | null;
  /** What became of the work that was there before. */
  readonly lost: Lost | null;
  /** Where the panel is, if it can be elsewhere. */
  readonly place: Place | null;
  readonly memory: Memory;
  readonly trans: TranslationBundle;
  readonly paused: boolean;
  readonly now: () => number;
  readonly onCancel: (task: string, force: boolean) => void;
  /** Called after each redraw. */
  readonly onDrawn: (state: RayState | null) => void;
}

export function App(props: AppProps): React.ReactElement {
  const { state, link, trans, paused, now, onDrawn, onCancel } = props;
  const [view, dispatch] = React.useReducer(reduceView, props.memory, memory =>
    recall(memory.read())
  );
  // What is the kernel's last word does not go on.
  const still = paused || link === 'offline';
  const surroundings = React.useMemo(() => ({ trans, now, paused: still }), [trans, now, still]);
  const folds = React.useMemo(
    () => ({
      closed: view.closed,
      toggle: (part: Part) => {
        dispatch({ type: 'part', part });
      }
    }),
    [view.closed]
  );
  const remembered = remember(view);
  React.useEffect(() => {
    props.memory.write(remembered);
  }, [props.memory, remembered]);
  const select = React.useCallback((id: string | null) => {
    dispatch({ type: 'select', id });
  }, []);
  React.useEffect(() => {
    onDrawn(state);
  });

  const hidden = view.cleared.epoch === state?.epoch ? view.cleared.actors : NONE;
  const ended = state?.runtime.state === 'stopped' || state?.runtime.state === 'dead';
  const isThere = state !== null && (state.runtime.state !== 'absent' || state.groups.size > 0);
  return (
    <PanelContext.Provider value={surroundings}>
      <Header
        link={link}
        runtime={state?.runtime ?? null}
        lost={props.lost}
        problem={props.problem}
        place={props.place}
      />
      {isThere ? (
        <FoldContext.Provider value={folds}>
          <div className="jr-Body">
            <Tasks state={state} view={view} dispatch={dispatch} />
            <div className="jr-Side">
              <Actors actors={state.actors} hidden={hidden} onSelect={select} />
              <Resources
                resources={state.resources}
                nodes={state.nodes}
                ended={ended}
                onSelect={select}
              />
            </div>
          </div>
          <Details state={state} selected={view.selected} onSelect={select} onCancel={onCancel} />
        </FoldContext.Provider>
      ) : (
        <Welcome link={link} lost={props.lost} />
      )}
    </PanelContext.Provider>
  );
}
