/** The tasks: as a graph or as a list, with the tools for both. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { RayState } from '../reducer';
import { full } from '../format';
import { TASK_STATES, type Task } from '../protocol';
import { isEnded, SINGLES_LIMIT, SINGLES_MAXIMUM, total, visibleTasks } from '../renderer/scene';
import { FoldContext, PanelContext, Prose, Section, stateName, useTrans } from './common';
import { GraphView } from './graphView';
import { Legend } from './legend';
import { TaskList } from './taskList';
import { filterOf, type ViewAction, type ViewState } from './view';

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

/** Which tasks the list shows. States that no task is in cannot be chosen. */
function Filter(props: {
  tasks: readonly Task[];
  filter: ViewState['filter'];
  dispatch: TasksProps['dispatch'];
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

function deadActors(state: RayState): string[] {
  return [...state.actors.values()].filter(({ state }) => state === 'dead').map(({ id }) => id);
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

export const Tasks = React.memo(function Tasks(props: TasksProps): React.ReactElement {
  const trans = useTrans();
  const { now } = React.useContext(PanelContext);
  const { state, view, dispatch } = props;
  const { closed, toggle } = React.useContext(FoldContext);
  const scale = React.useRef(1);
  const clearedAt = view.cleared.epoch === state.epoch ? view.cleared.at : 0;
  const tasks = React.useMemo(() => visibleTasks(state, clearedAt), [state.tasks, clearedAt]);
  const note = React.useMemo(() => summary(trans, state), [trans, state.groups]);
  const dead = React.useMemo(() => deadActors(state), [state.actors]);
  const listed = React.useMemo(
    () => (view.filter === 'all' ? tasks : tasks.filter(task => task.state === view.filter)),
    [tasks, view.filter]
  );
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
            title={
              tasks.length > SINGLES_MAXIMUM
                ? trans.__('So many tasks are always drawn in groups; the list shows each')
                : trans.__('Draw calls that were made at the same place as one node')
            }
            pressed={grouped}
            disabled={tasks.length > SINGLES_MAXIMUM}
            onClick={() => {
              dispatch({ type: 'grouping', grouping: grouped ? 'tasks' : 'groups' });
            }}
          />
        )}
        {view.mode === 'list' && <Filter tasks={tasks} filter={view.filter} dispatch={dispatch} />}
        <span className="jr-Tools-end">
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
            title={trans.__('Hide the tasks and the actors that have ended')}
            disabled={!tasks.some(isEnded) && !dead.some(id => !view.cleared.actors.has(id))}
            onClick={() => {
              dispatch({ type: 'clear', epoch: state.epoch, at: now(), actors: dead });
            }}
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
