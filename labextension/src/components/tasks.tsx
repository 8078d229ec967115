/** The tasks: as a graph or as a list. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { RayState } from '../reducer';
import { full } from '../format';
import { isEnded, total, visibleTasks } from '../renderer/scene';
import { FoldContext, PanelContext, Prose, Section, useTrans } from './common';
import { GraphView } from './graphView';
import { Legend } from './legend';
import { TaskList } from './taskList';
import { TaskTools, ZoomTools } from './taskTools';
import type { ViewAction, ViewState } from './view';

export interface TasksProps {
  readonly state: RayState;
  readonly view: ViewState;
  readonly dispatch: (action: ViewAction) => void;
}

function summary(trans: TranslationBundle, state: RayState): React.ReactNode {
  let count = 0;
  let running = 0;
  let failed = 0;
  for (const group of state.groups.values()) {
    count += total(group);
    running += group.counts['running'] ?? 0;
    failed += group.counts['failed'] ?? 0;
  }
  return (
    <>
      {failed > 0 && (
        <>
          <span className="jr-Failures" data-testid="jr-failures">
            {trans.__('%1 failed', full(failed))}
          </span>
          {' · '}
        </>
      )}
      {running > 0 ? (
        <>
          {trans.__('%1 running', full(running))}
          <span className={failed > 0 ? 'jr-mod-spare' : ''}>
            {' '}
            {trans.__('of %1', full(count))}
          </span>
        </>
      ) : (
        full(count)
      )}
    </>
  );
}

function deadActors(state: RayState): string[] {
  return [...state.actors.values()].filter(({ state }) => state === 'dead').map(({ id }) => id);
}

export const Tasks = React.memo(function Tasks(props: TasksProps): React.ReactElement {
  const trans = useTrans();
  const { now } = React.useContext(PanelContext);
  const { state, view, dispatch } = props;
  const { closed } = React.useContext(FoldContext);
  const scale = React.useRef(1);
  const clearedAt = view.cleared.epoch === state.epoch ? view.cleared.at : 0;
  const tasks = React.useMemo(() => visibleTasks(state, clearedAt), [state.tasks, clearedAt]);
  const note = React.useMemo(() => summary(trans, state), [trans, state.groups]);
  const dead = React.useMemo(() => deadActors(state), [state.actors]);
  const listed = React.useMemo(
    () => (view.filter === 'all' ? tasks : tasks.filter(task => task.state === view.filter)),
    [tasks, view.filter]
  );

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

  return (
    <Section name="tasks" title={trans.__('Tasks')} note={note}>
      <TaskTools
        view={view}
        tasks={tasks}
        dispatch={dispatch}
        isCleared={clearedAt > 0}
        mayClear={tasks.some(isEnded) || dead.some(id => !view.cleared.actors.has(id))}
        onClear={() => {
          dispatch({ type: 'clear', epoch: state.epoch, at: now(), actors: dead });
        }}
        onUnclear={() => {
          dispatch({ type: 'clear', epoch: state.epoch, at: 0 });
        }}
      />
      {tasks.length === 0 && state.groups.size === 0 ? (
        <p className="jr-Empty">
          <Prose
            text={trans.__(
              'No tasks yet: call a remote function, or begin a cell with `%1`.',
              '%%remote'
            )}
          />
        </p>
      ) : view.mode === 'list' ? (
        <TaskList tasks={listed} selected={view.selected} onSelect={onTask} />
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
          <ZoomTools scale={scale} dispatch={dispatch} />
        </div>
      )}
      {state.runtime.dropped > 0 && (
        <p
          className="jr-Folded"
          data-testid="jr-folded"
          title={trans.__('They are not shown one by one any more: their groups count them.')}
        >
          {trans._n(
            '%2 ended task is only counted.',
            '%2 ended tasks are only counted.',
            state.runtime.dropped,
            full(state.runtime.dropped)
          )}
        </p>
      )}
      {!closed.has('legend') && <Legend edges={view.mode === 'graph'} />}
    </Section>
  );
});
