/** The tools above and beside the tasks: how they are shown, which of them, and how large. */

import * as React from 'react';

import { full } from '../format';
import { TASK_STATES, type Task } from '../protocol';
import { SINGLES_LIMIT, SINGLES_MAXIMUM } from '../renderer/scene';
import { FoldContext, stateName, useTrans } from './common';
import { filterOf, type ViewAction, type ViewState } from './view';

type Dispatch = (action: ViewAction) => void;

/** How much larger or smaller a click makes the graph. */
const ZOOM_STEP = 1.25;

/** Which tasks the list shows. States that no task is in cannot be chosen. */
function Filter(props: {
  tasks: readonly Task[];
  filter: ViewState['filter'];
  dispatch: Dispatch;
}): React.ReactElement {
  const trans = useTrans();
  const { tasks, filter } = props;
  const counts = new Map<string, number>();
  for (const { state } of tasks) {
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return (
    <select
      className="jr-Select"
      aria-label={trans.__('Show tasks that are')}
      title={trans.__('Show tasks that are …')}
      data-testid="jr-tool-filter"
      value={filter}
      onChange={event => {
        props.dispatch({ type: 'filter', filter: filterOf(event.target.value) });
      }}
    >
      <option value="all">{trans.__('all')}</option>
      {TASK_STATES.filter(state => counts.has(state) || state === filter).map(state => (
        <option key={state} value={state}>
          {`${stateName(trans, state)} (${full(counts.get(state) ?? 0)})`}
        </option>
      ))}
    </select>
  );
}

function Tool(props: {
  id: string;
  label: string;
  title?: string;
  pressed?: boolean;
  expanded?: boolean;
  disabled?: boolean;
  onClick: () => void;
}): React.ReactElement {
  return (
    <button
      type="button"
      className="jr-Button"
      title={props.title ?? props.label}
      data-testid={`jr-tool-${props.id}`}
      disabled={props.disabled ?? false}
      {...(props.pressed === undefined ? {} : { 'aria-pressed': props.pressed })}
      {...(props.expanded === undefined ? {} : { 'aria-expanded': props.expanded })}
      onClick={props.onClick}
    >
      {props.label}
    </button>
  );
}

export interface TaskToolsProps {
  readonly view: ViewState;
  readonly tasks: readonly Task[];
  readonly dispatch: Dispatch;
  /** Whether ended work is hidden. */
  readonly isCleared: boolean;
  /** Whether there is any to hide. */
  readonly mayClear: boolean;
  readonly onClear: () => void;
  readonly onUnclear: () => void;
}

/** The row of tools above the tasks. */
export function TaskTools(props: TaskToolsProps): React.ReactElement {
  const trans = useTrans();
  const { closed, toggle } = React.useContext(FoldContext);
  const { view, tasks, dispatch } = props;
  return (
    <div className="jr-Tools" role="toolbar" aria-label={trans.__('Tasks')}>
      <span className="jr-Switch">
        <Tool
          id="graph"
          label={trans.__('Graph')}
          pressed={view.mode === 'graph'}
          onClick={() => {
            dispatch({ type: 'mode', mode: 'graph' });
          }}
        />
        <Tool
          id="list"
          label={trans.__('List')}
          pressed={view.mode === 'list'}
          onClick={() => {
            dispatch({ type: 'mode', mode: 'list' });
          }}
        />
      </span>
      {view.mode === 'graph' ? (
        <GroupTool grouping={view.grouping} count={tasks.length} dispatch={dispatch} />
      ) : (
        <Filter tasks={tasks} filter={view.filter} dispatch={dispatch} />
      )}
      <span className="jr-Tools-end">
        {props.isCleared && (
          <Tool
            id="unclear"
            label={trans.__('Show all')}
            title={trans.__('Show the ended tasks again')}
            onClick={props.onUnclear}
          />
        )}
        <Tool
          id="clear"
          label={trans.__('Clear')}
          title={trans.__('Hide the tasks and the actors that have ended')}
          disabled={!props.mayClear}
          onClick={props.onClear}
        />
        <Tool
          id="legend"
          label="?"
          title={trans.__('What the shapes and lines mean')}
          expanded={!closed.has('legend')}
          onClick={() => {
            toggle('legend');
          }}
        />
      </span>
    </div>
  );
}

/** Whether the graph has one node for each call site. */
function GroupTool(props: {
  grouping: ViewState['grouping'];
  count: number;
  dispatch: Dispatch;
}): React.ReactElement {
  const trans = useTrans();
  const { grouping, count } = props;
  const tooMany = count > SINGLES_MAXIMUM;
  const grouped =
    tooMany || grouping === 'groups' || (grouping === 'auto' && count > SINGLES_LIMIT);
  return (
    <Tool
      id="group"
      label={trans.__('Group')}
      title={
        tooMany
          ? trans.__('So many tasks are always drawn in groups; the list shows each')
          : trans.__('Draw calls that were made at the same place as one node')
      }
      pressed={grouped}
      disabled={tooMany}
      onClick={() => {
        props.dispatch({ type: 'grouping', grouping: grouped ? 'tasks' : 'groups' });
      }}
    />
  );
}

/** Smaller, larger, or as wide as there is room. `scale` is what the graph is drawn in now. */
export function ZoomTools(props: {
  scale: React.RefObject<number>;
  dispatch: Dispatch;
}): React.ReactElement {
  const trans = useTrans();
  const zoomBy = (factor: number) => (): void => {
    props.dispatch({ type: 'zoom', zoom: (props.scale.current ?? 1) * factor });
  };
  return (
    <div className="jr-Zoom" role="toolbar" aria-label={trans.__('Zoom')}>
      <Tool id="zoom-out" label="−" title={trans.__('Smaller')} onClick={zoomBy(1 / ZOOM_STEP)} />
      <Tool
        id="zoom-fit"
        label={trans.__('Fit')}
        title={trans.__('Fit the width')}
        onClick={() => {
          props.dispatch({ type: 'zoom', zoom: 'fit' });
        }}
      />
      <Tool id="zoom-in" label="+" title={trans.__('Larger')} onClick={zoomBy(ZOOM_STEP)} />
    </div>
  );
}
