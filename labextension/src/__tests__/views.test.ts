import { describe, expect, it } from 'vitest';

import { GROUP_FROM, groupActors, joinHolders } from '../components/actors';
import { byNode, joinShares, slots } from '../components/resources';
import { treeKey, treeRows } from '../components/tree';
import {
  filterOf,
  INITIAL_VIEW,
  recall,
  reduceView,
  remember,
  ZOOM_MAXIMUM
} from '../components/view';
import {
  amount,
  clip,
  clipName,
  demand,
  errorName,
  full,
  lasting,
  sentence,
  short,
  span
} from '../format';
import type { Actor } from '../protocol';
import { actor, forest, resource, task } from './make';

describe('groupActors', () => {
  const many = (count: number, name: string): Actor[] =>
    Array.from({ length: count }, (_, at) => actor(`${name}${at}`, { class_name: name }));
  const rows = (alive: Actor[]): string[] =>
    groupActors(alive).map(row =>
      'members' in row ? `${row.className} ×${row.members.length}` : row.id
    );

  it('makes one row of many of a class, where the first of them is', () => {
    const workers = many(GROUP_FROM, 'W');
    const mixed = [actor('boss'), ...workers.slice(0, 3), actor('b2'), ...workers.slice(3)];
    expect(rows(mixed)).toEqual(['boss', `W ×${GROUP_FROM}`, 'b2']);
  });

  it('leaves a few as they are', () => {
    expect(rows(many(GROUP_FROM - 1, 'W'))).toHaveLength(GROUP_FROM - 1);
  });

  it('leaves alone who has a name, an error, or is not there yet', () => {
    const odd = [
      actor('n', { class_name: 'W', name: 'chief' }),
      actor('e', { class_name: 'W', error: 'boom' }),
      actor('s', { class_name: 'W', state: 'starting' })
    ];
    expect(rows([...odd, ...many(GROUP_FROM, 'W')])).toEqual(['n', 'e', 's', `W ×${GROUP_FROM}`]);
  });
});

describe('treeRows', () => {
  const tasks = [
    task('a'),
    task('b'),
    task('a1', { parent: 'a' }),
    task('a2', { parent: 'a' }),
    task('a1x', { parent: 'a1' }),
    task('orphan', { parent: 'gone' })
  ];
  const show = (collapsed: string[]): string[] =>
    treeRows(tasks, new Set(collapsed)).map(({ task, level }) => `${level} ${task.id}`);

  it('puts what a task called below it', () => {
    expect(show([])).toEqual(['1 a', '2 a1', '3 a1x', '2 a2', '1 b', '1 orphan']);
  });

  it('leaves out what is folded away', () => {
    expect(show(['a1'])).toEqual(['1 a', '2 a1', '2 a2', '1 b', '1 orphan']);
    expect(show(['a'])).toEqual(['1 a', '1 b', '1 orphan']);
  });

  it('bears deep nesting, and many tasks', () => {
    const deep = Array.from({ length: 5000 }, (_, i) =>
      task(`t${i}`, { parent: i > 0 ? `t${i - 1}` : null })
    );
    expect(treeRows(deep, new Set()).at(-1)?.level).toBe(5000);
    expect(treeRows(forest(2000), new Set())).toHaveLength(2000);
  });

  it('follows the keys of a tree', () => {
    const rows = treeRows(tasks, new Set(['a1']));
    const to = (index: number, key: string): string => {
      const step = treeKey(rows, index, key, 3);
      return step === null ? '-' : `${step.index}${step.toggle ? ' toggle' : ''}`;
    };
    expect(to(-1, 'ArrowDown')).toBe('0');
    expect(to(0, 'ArrowRight')).toBe('1');
    expect(to(0, 'ArrowLeft')).toBe('0 toggle');
    expect(to(1, 'ArrowRight')).toBe('1 toggle');
    expect(to(2, 'ArrowLeft')).toBe('0');
    expect(to(3, 'ArrowLeft')).toBe('-');
    expect(to(0, 'PageDown')).toBe('3');
    expect(to(0, 'End')).toBe('4');
    expect(to(4, 'Home')).toBe('0');
    expect(to(4, 'ArrowDown')).toBe('4');
    expect(to(0, 'x')).toBe('-');
    expect(treeKey([], -1, 'ArrowRight', 3)).toBeNull();
  });
});

describe('reduceView', () => {
  it('opens and closes groups', () => {
    const open = reduceView(INITIAL_VIEW, { type: 'group', id: 'g' });
    expect([...open.opened]).toEqual(['g']);
    expect(reduceView(open, { type: 'group', id: 'g' }).opened.size).toBe(0);
    expect(INITIAL_VIEW.opened.size).toBe(0);
  });

  it('remembers the mode and what is folded away, and nothing else', () => {
    const list = reduceView(INITIAL_VIEW, { type: 'mode', mode: 'list' });
    const closed = reduceView(list, { type: 'part', part: 'legend' });
    const chosen = reduceView(closed, { type: 'select', id: 't' });
    const again = recall(remember(chosen));
    expect([again.mode, [...again.closed], again.selected]).toEqual(['list', ['legend'], null]);
    expect(reduceView(again, { type: 'part', part: 'legend' }).closed.size).toBe(0);
    for (const odd of [null, '', '{', '7', '{"mode":7,"closed":[7,"roof"]}']) {
      expect(recall(odd)).toEqual(INITIAL_VIEW);
    }
  });

  it('clears the actors that are dead, of one epoch', () => {
    const clear = { type: 'clear', epoch: 'e', at: 5, actors: ['a'] } as const;
    expect([...reduceView(INITIAL_VIEW, clear).cleared.actors]).toEqual(['a']);
    const all = { type: 'clear', epoch: 'e', at: 0 } as const;
    expect(reduceView(INITIAL_VIEW, all).cleared.actors.size).toBe(0);
  });

  it('shows one state or all', () => {
    expect([filterOf('failed'), filterOf('all'), filterOf('?')]).toEqual(['failed', 'all', 'all']);
  });

  it('keeps the zoom in bounds', () => {
    expect(reduceView(INITIAL_VIEW, { type: 'zoom', zoom: 99 }).zoom).toBe(ZOOM_MAXIMUM);
    expect(reduceView(INITIAL_VIEW, { type: 'zoom', zoom: 'fit' }).zoom).toBe('fit');
  });
});

describe('shares', () => {
  it('joins holders with the same name', () => {
    const holders = ['1', '2', '3'].map(id => ({
      id,
      kind: 'task' as const,
      label: 'f',
      count: 1
    }));
    const driver = { id: 'd', kind: 'driver' as const, label: 'notebook', count: 2 };
    expect(joinHolders([...holders, driver])).toMatchObject([
      { label: 'f', holders: 3, count: 3, id: '1' },
      { label: 'notebook', holders: 1, count: 2 }
    ]);
  });

  it('joins parts of a resource with the same name', () => {
    const part = (id: string, kind: string): Parameters<typeof joinShares>[0][number] => ({
      id,
      kind,
      label: 'f',
      amount: 0.5
    });
    expect(joinShares([part('1', 'task'), part('2', 'task'), part('3', 'actor')])).toMatchObject([
      { id: '1', amount: 1, count: 2 },
      { id: '3', amount: 0.5, count: 1 }
    ]);
  });

  it('groups resources by machine where there are several', () => {
    const cpu = resource('CPU');
    expect(byNode([cpu, resource('memory')], new Map())).toEqual([{ node: null, rows: [cpu] }]);
    const first = { id: 'n1', name: 'host (head)' };
    const second = { id: 'n2', name: 'other' };
    const rows = [resource('memory', 'n1'), resource('CPU', 'n2'), resource('GPU', 'n2')];
    const nodes = new Map([first, second].map(node => [node.id, node]));
    expect(byNode(rows, nodes)).toEqual([{ node: second, rows: rows.slice(1) }]);
  });

  it('fills slots from the left', () => {
    expect(slots(4, 2.5)).toEqual([1, 1, 0.5, 0]);
    expect(slots(1.5, 0)).toEqual([0, 0]);
  });
});

describe('format', () => {
  it('writes times, amounts and counts', () => {
    expect([0.0004, 0.042, 0.0996, 9.94, 10, 61, 3661, -1].map(span)).toEqual([
      '<1 ms',
      '42 ms',
      '0.1 s',
      '9.9 s',
      '10 s',
      '1 m 01 s',
      '1 h 01 m',
      '<1 ms'
    ]);
    expect([0.069, 1.9, 59.9, 61].map(lasting)).toEqual(['<1 s', '1 s', '59 s', '1 m 01 s']);
    expect([7, 5077].map(full)).toEqual(['7', '5,077']);
    expect(sentence('it was killed')).toBe('It was killed');
    expect([amount(1), amount(0.25), amount(2 ** 31, 'memory')]).toEqual(['1', '0.25', '2 GiB']);
    expect(demand({ CPU: 1, GPU: 0.5, memory: 0 })).toBe('1 CPU, 0.5 GPU');
    expect([7, 999, 1000, 1999, 35000].map(short)).toEqual(['7', '999', '1.0k', '1.9k', '35k']);
    expect([clip('abc', 25), clip('abcd', 25)]).toEqual(['abc', 'ab…']);
    expect(clip('Illinois', 50)).toBe('Illinois');
    expect(clip('mammoths', 50)).toBe('mamm…');
    expect(clipName('Board.report', 200)).toBe('Board.report');
    expect(clipName('Board.report', 55)).toBe('…report');
    expect(clipName('mammoths', 50)).toBe('mamm…');
  });

  it('names an error', () => {
    const names = [
      "ValueError: row 7 has no column 'price'",
      'RayTaskError(KeyError): ray::f() (pid=1)\nTraceback: ...',
      'numpy.linalg.LinAlgError: singular',
      'KeyError',
      'an argument failed'
    ].map(errorName);
    expect(names).toEqual(['ValueError', 'KeyError', 'LinAlgError', 'KeyError', null]);
  });
});
