/** The tasks as a list: what the graph shows, for keyboards and screen readers. Only rows in sight are made. */

import * as React from 'react';

import { TASK_GLYPHS } from '../glyphs';
import type { Task } from '../protocol';
import { elapsed, ticks } from '../renderer/marks';
import { displayName } from '../renderer/scene';
import { StateGlyph, stateName, useNow, useTrans } from './common';
import { treeKey, treeRows, type TreeRow } from './tree';

const ROW = 22;
const HEAD = 22;
const OVERSCAN = 8;
const INDENT = 12;
/** Deeper levels are not indented further, so that names stay in sight. */
const INDENT_AT_MOST = 8;

export function Elapsed({ task }: { task: Task }): React.ReactElement {
  const now = useNow(ticks(task));
  return <>{elapsed(task, now) ?? ''}</>;
}

interface RowProps {
  readonly id: string;
  readonly row: TreeRow;
  readonly index: number;
  readonly selected: boolean;
  readonly onSelect: (id: string) => void;
  readonly onToggle: (id: string) => void;
}

const Row = React.memo(function Row(props: RowProps): React.ReactElement {
  const trans = useTrans();
  const { row, index, selected } = props;
  const { task, level, expanded } = row;
  const name = stateName(trans, task.state);
  return (
    <div
      id={props.id}
      role="row"
      className={`jr-Row${selected ? ' jr-mod-selected' : ''}`}
      style={{ top: HEAD + index * ROW }}
      aria-level={level}
      aria-rowindex={index + 2}
      aria-selected={selected}
      {...(expanded === null ? {} : { 'aria-expanded': expanded })}
      data-testid="jr-task-row"
      data-task-id={task.id}
      data-task-name={task.name}
      data-state={task.state}
      title={task.id}
      onClick={() => {
        props.onSelect(task.id);
      }}
    >
      <span
        role="gridcell"
        className="jr-Row-name"
        style={{ paddingLeft: Math.min(level - 1, INDENT_AT_MOST) * INDENT }}
      >
        <svg
          className="jr-Twisty"
          viewBox="0 0 16 16"
          aria-hidden="true"
          onClick={event => {
            event.stopPropagation();
            props.onToggle(task.id);
          }}
        >
          {expanded !== null && <path d={expanded ? 'M4 6h8l-4 5z' : 'M6 4l5 4-5 4z'} />}
        </svg>
        <StateGlyph glyph={TASK_GLYPHS[task.state]} state={task.state} />
        <span className="jr-Row-text">{displayName(task)}</span>
      </span>
      <span role="gridcell" className="jr-Row-state">
        {name}
      </span>
      <span role="gridcell" className="jr-Row-time">
        <Elapsed task={task} />
      </span>
    </div>
  );
});

export interface TaskListProps {
  readonly tasks: readonly Task[];
  readonly selected: string | null;
  readonly onSelect: (id: string) => void;
}

export function TaskList({ tasks, selected, onSelect }: TaskListProps): React.ReactElement {
  const trans = useTrans();
  const uid = React.useId();
  const box = React.useRef<HTMLDivElement>(null);
  const [collapsed, setCollapsed] = React.useState<ReadonlySet<string>>(new Set());
  const [{ top, height }, setWindow] = React.useState({ top: 0, height: 400 });
  const rows = React.useMemo(() => treeRows(tasks, collapsed), [tasks, collapsed]);
  const active = rows.findIndex(row => row.task.id === selected);

  React.useEffect(() => {
    const element = box.current;
    if (element === null) {
      return;
    }
    const measure = (): void => {
      setWindow({ top: element.scrollTop, height: element.clientHeight });
    };
    const resizes = new ResizeObserver(measure);
    resizes.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      resizes.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);

  const toggle = React.useCallback((id: string) => {
    setCollapsed(old => {
      const next = new Set(old);
      if (!next.delete(id)) {
        next.add(id);
      }
      return next;
    });
  }, []);

  const reveal = (index: number): void => {
    const element = box.current;
    if (element === null) {
      return;
    }
    const y = index * ROW;
    if (y < element.scrollTop) {
      element.scrollTop = y;
    } else if (y + ROW + HEAD > element.scrollTop + element.clientHeight) {
      element.scrollTop = y + ROW + HEAD - element.clientHeight;
    }
  };

  const onKeyDown = (event: React.KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / ROW) - 2);
    const step = treeKey(rows, active, event.key, page);
    const target = step === null ? undefined : rows[step.index];
    if (step === null || target === undefined) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (step.toggle) {
      toggle(target.task.id);
    } else {
      onSelect(target.task.id);
      reveal(step.index);
    }
  };

  const first = Math.max(0, Math.floor(top / ROW) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + OVERSCAN);
  const shown = rows.slice(first, last);
  const inSight = active >= first && active < last;
  return (
    <div
      ref={box}
      role="treegrid"
      className="jr-List"
      tabIndex={0}
      aria-label={trans.__('Tasks')}
      aria-rowcount={rows.length + 1}
      {...(inSight ? { 'aria-activedescendant': `${uid}${active}` } : {})}
      data-testid="jr-list"
      onKeyDown={onKeyDown}
    >
      <div role="row" className="jr-List-head" aria-rowindex={1}>
        <span role="columnheader">{trans.__('Task')}</span>
        <span role="columnheader">{trans.__('State')}</span>
        <span role="columnheader">{trans.__('Time')}</span>
      </div>
      {shown.map((row, offset) => (
        <Row
          key={row.task.id}
          id={`${uid}${first + offset}`}
          row={row}
          index={first + offset}
          selected={first + offset === active}
          onSelect={onSelect}
          onToggle={toggle}
        />
      ))}
      <div role="presentation" style={{ height: rows.length * ROW }} />
    </div>
  );
}
