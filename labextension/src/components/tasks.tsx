/** The tasks: as a graph or as a list, with the tools for both. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { RayState } from '../reducer';
import { isEnded, SINGLES_LIMIT, SINGLES_MAXIMUM, total, visibleTasks } from '../renderer/scene';
import { PanelContext, Section, useTrans } from './common';
import { GraphView } from './graphView';
import { Legend } from './legend';
import { TaskList } from './taskList';
import type { ViewAction, ViewState } from './view';

export interface TasksProps {
  readonly state: RayState;
  readonly view: ViewState;
  readonly dispatch: (action: ViewAction) => void;
}

function summary(trans: TranslationBundle, state: RayState): string {
  let count = 0;
  let running = 0;
  for (const group of state.groups.values()) {
    count += total(group);
    running += group.counts['running'] ?? 0;
  }
  return running > 0 ? trans.__('%1 running of %2', running, count) : String(count);
}

function Tool(props: {
  id: string;
  label: string;
  title?: string;
  pressed?: boolean;
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
      onClick={props.onClick}
    >
      {props.label}
    </button>
  );
}

export const Tasks = React.memo(function Tasks(props: TasksProps): React.ReactElement {
  const trans = useTrans();
  const { now } = React.useContext(PanelContext);
  const { state, view, dispatch } = props;
  const scale = React.useRef(1);
  const clearedAt = view.cleared.epoch === state.epoch ? view.cleared.at : 0;
  const tasks = React.useMemo(() => visibleTasks(state, clearedAt), [state.tasks, clearedAt]);
  const note = React.useMemo(() => summary(trans, state), [trans, state.groups]);
  const grouped =
    view.grouping === 'groups' ||
    (view.grouping === 'auto' && tasks.length > SINGLES_LIMIT) ||
    tasks.length > SINGLES_MAXIMUM;

  const onTask = React.useCallback(
    (id: string) => {
      dispatch({ type: 'select', id });
    },
    [dispatch]
  );
  const onGroup = (id: string): void => {
    const members = tasks.filter(task => task.group === id);
    const group = state.groups.get(id);
    // A group of one has nothing to open: it is its task.
    if (members.length === 1 && members[0] && group && total(group) === 1) {
      onTask(members[0].id);
    } else {
      dispatch({ type: 'group', id });
    }
  };
  const zoomBy = (factor: number) => (): void => {
    dispatch({ type: 'zoom', zoom: scale.current * factor });
  };

  return (
    <Section name="tasks" title={trans.__('Tasks')} note={note}>
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
        {view.mode === 'graph' && (
          <Tool
            id="group"
            label={trans.__('Group')}
            title={trans.__('Draw calls that were made at the same place as one node')}
            pressed={grouped}
            disabled={tasks.length > SINGLES_MAXIMUM}
            onClick={() => {
              dispatch({ type: 'grouping', grouping: grouped ? 'tasks' : 'groups' });
            }}
          />
        )}
        <span className="jr-Tools-space" />
        {clearedAt > 0 && (
          <Tool
            id="unclear"
            label={trans.__('Show all')}
            title={trans.__('Show the ended tasks again')}
            onClick={() => {
              dispatch({ type: 'clear', epoch: state.epoch, at: 0 });
            }}
          />
        )}
        <Tool
          id="clear"
          label={trans.__('Clear')}
          title={trans.__('Hide the tasks that have ended')}
          disabled={!tasks.some(isEnded)}
          onClick={() => {
            dispatch({ type: 'clear', epoch: state.epoch, at: now() });
          }}
        />
      </div>
      {tasks.length === 0 && state.groups.size === 0 ? (
        <p className="jr-Empty">{trans.__('No tasks yet.')}</p>
      ) : view.mode === 'list' ? (
        <TaskList tasks={tasks} selected={view.selected} onSelect={onTask} />
      ) : (
        <div className="jr-GraphBox">
          <GraphView
            state={state}
            grouping={view.grouping}
            opened={view.opened}
            clearedAt={clearedAt}
            selected={view.selected}
            zoom={view.zoom}
            onTask={onTask}
            onGroup={onGroup}
            onScale={value => {
              scale.current = value;
            }}
          />
          <div className="jr-Zoom" role="toolbar" aria-label={trans.__('Zoom')}>
            <Tool id="zoom-out" label="−" title={trans.__('Smaller')} onClick={zoomBy(1 / 1.25)} />
            <Tool
              id="zoom-fit"
              label={trans.__('Fit')}
              title={trans.__('Fit the width')}
              onClick={() => {
                dispatch({ type: 'zoom', zoom: 'fit' });
              }}
            />
            <Tool id="zoom-in" label="+" title={trans.__('Larger')} onClick={zoomBy(1.25)} />
          </div>
        </div>
      )}
      {state.runtime.dropped > 0 && (
        <p className="jr-Folded" data-testid="jr-folded">
          {trans._n(
            '%1 ended task is counted in its group only.',
            '%1 ended tasks are counted in their groups only.',
            state.runtime.dropped
          )}
        </p>
      )}
      <Legend />
    </Section>
  );
});
