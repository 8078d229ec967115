/** What is known of the selected task. */

import * as React from 'react';

import { demand, errorName, sentence } from '../format';
import { TASK_GLYPHS } from '../glyphs';
import type { RayState } from '../reducer';
import { isEnded } from '../renderer/scene';
import { StateGlyph, stateName, useTrans } from './common';
import { Elapsed } from './taskList';

export interface DetailsProps {
  readonly state: RayState;
  readonly selected: string | null;
  onSelect(id: string | null): void;
  onCancel(id: string, force: boolean): void;
}

const LINKS_AT_MOST = 6;

export function Details(props: DetailsProps): React.ReactElement | null {
  const trans = useTrans();
  const { state, selected } = props;
  // The task that was asked to stop: if it is still there, it may be stopped by force.
  const [asked, setAsked] = React.useState<string | null>(null);
  const task = selected === null ? undefined : state.tasks.get(selected);
  if (task === undefined) {
    return null;
  }
  const links = (ids: readonly string[]): React.ReactNode => (
    <>
      {ids.slice(0, LINKS_AT_MOST).map(id => {
        const other = state.tasks.get(id);
        return other === undefined ? (
          <span key={id}>{id.slice(0, 8)} </span>
        ) : (
          <button
            key={id}
            type="button"
            className="jr-Link"
            title={id}
            onClick={() => {
              props.onSelect(id);
            }}
          >
            {other.name}
          </button>
        );
      })}
      {ids.length > LINKS_AT_MOST && <span>+{ids.length - LINKS_AT_MOST}</span>}
    </>
  );
  const worker = task.worker === null ? undefined : state.workers.get(task.worker);
  const actor = task.actor === null ? undefined : state.actors.get(task.actor);
  const pid = worker?.pid ?? null;
  const node = task.node === null ? undefined : state.nodes.get(task.node);
  const lines: [string, string, React.ReactNode][] = [
    ['time', trans.__('Time'), task.started === null ? null : <Elapsed task={task} />],
    ['actor', trans.__('Actor'), actor ? (actor.name ?? actor.class_name) : task.actor],
    ['parent', trans.__('Called by'), task.parent === null ? null : links([task.parent])],
    ['deps', trans.__('Arguments'), task.deps.length > 0 ? links(task.deps) : null],
    ['waits', trans.__('Waits for'), task.waits_for.length > 0 ? links(task.waits_for) : null],
    ['demand', trans.__('Asks for'), task.state === 'pending' ? demand(task.demand) : null],
    ['held', trans.__('Holds'), demand(task.held)],
    ['lent', trans.__('Has lent'), demand(task.lent)],
    ['gpus', trans.__('GPUs'), task.gpus.join(', ')],
    [
      'worker',
      trans.__('Worker'),
      pid === null ? task.worker?.slice(0, 8) : trans.__('process %1', pid)
    ],
    ['node', trans.__('Node'), node?.name],
    ['attempt', trans.__('Attempt'), task.attempt > 0 ? task.attempt + 1 : null],
    [
      'id',
      trans.__('Id'),
      <code key="id" title={task.id}>
        {task.id}
      </code>
    ]
  ];
  const force = asked === task.id;
  return (
    <div
      role="group"
      className="jr-Details"
      aria-label={trans.__('Selected task')}
      data-testid="jr-details"
      data-task-id={task.id}
      data-state={task.state}
    >
      <div className="jr-Details-head">
        <StateGlyph glyph={TASK_GLYPHS[task.state]} state={task.state} />
        <span className="jr-Details-name" title={task.name}>
          {task.name}
        </span>
        <span className="jr-Details-state">{stateName(trans, task.state)}</span>
        {!isEnded(task) && (
          <button
            type="button"
            className="jr-Button"
            data-testid="jr-cancel"
            title={
              force
                ? trans.__('Ends its worker process')
                : trans.__('Cancels this task and those that it called')
            }
            onClick={() => {
              props.onCancel(task.id, force);
              setAsked(task.id);
            }}
          >
            {force ? trans.__('Force') : trans.__('Cancel')}
          </button>
        )}
        <button
          type="button"
          className="jr-Button jr-mod-plain"
          aria-label={trans.__('Close')}
          data-testid="jr-details-close"
          onClick={() => {
            props.onSelect(null);
          }}
        >
          ×
        </button>
      </div>
      {task.error !== null && (
        <p className="jr-Error" data-testid="jr-details-error">
          {errorName(task.error) === null ? sentence(task.error) : task.error}
        </p>
      )}
      <dl>
        {lines.map(([key, label, value]) =>
          value === null || value === undefined || value === '' ? null : (
            <div key={key} data-testid={`jr-details-${key}`}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          )
        )}
      </dl>
    </div>
  );
}
