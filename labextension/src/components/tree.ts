/** The tasks as a tree of calls, flattened into rows. Pure. */

import type { Task } from '../protocol';

export interface TreeRow {
  readonly task: Task;
  /** 1 for what the notebook called. */
  readonly level: number;
  /** Null if it called nothing. */
  readonly expanded: boolean | null;
}

/** Callers before what they called, each in the order of arrival. Tasks whose caller is gone are called by nobody. */
export function treeRows(tasks: readonly Task[], collapsed: ReadonlySet<string>): TreeRow[] {
  const known = new Set(tasks.map(task => task.id));
  const children = new Map<string | null, Task[]>();
  for (const task of tasks) {
    const parent = task.parent !== null && known.has(task.parent) ? task.parent : null;
    const list = children.get(parent);
    if (list === undefined) {
      children.set(parent, [task]);
    } else {
      list.push(task);
    }
  }
  const rows: TreeRow[] = [];
  // A stack, not recursion: a notebook may nest calls a thousand deep.
  const stack: [Task, number][] = [];
  const push = (list: readonly Task[], level: number): void => {
    for (const task of [...list].reverse()) {
      stack.push([task, level]);
    }
  };
  push(children.get(null) ?? [], 1);
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [task, level] = next;
    const called = children.get(task.id);
    const expanded = called === undefined ? null : !collapsed.has(task.id);
    rows.push({ task, level, expanded });
    if (called !== undefined && expanded === true) {
      push(called, level + 1);
    }
  }
  return rows;
}

/** Where a key leads in the rows, and what it folds or unfolds. */
export function treeKey(
  rows: readonly TreeRow[],
  index: number,
  key: string,
  page: number
): { index: number; toggle: boolean } | null {
  const row = rows[index];
  const stay = (to: number): { index: number; toggle: boolean } => ({
    index: Math.max(0, Math.min(rows.length - 1, to)),
    toggle: false
  });
  switch (key) {
    case 'ArrowDown':
      return stay(index + 1);
    case 'ArrowUp':
      return stay(index < 0 ? rows.length - 1 : index - 1);
    case 'PageDown':
      return stay(index + page);
    case 'PageUp':
      return stay(index - page);
    case 'Home':
      return stay(0);
    case 'End':
      return stay(rows.length - 1);
    case 'ArrowRight':
      if (row === undefined || row.expanded === null) {
        return null;
      }
      return row.expanded ? stay(index + 1) : { index, toggle: true };
    case 'ArrowLeft': {
      if (row === undefined) {
        return null;
      }
      if (row.expanded === true) {
        return { index, toggle: true };
      }
      for (let above = index - 1; above >= 0; above--) {
        if ((rows[above]?.level ?? 0) < row.level) {
          return stay(above);
        }
      }
      return null;
    }
    default:
      return null;
  }
}
