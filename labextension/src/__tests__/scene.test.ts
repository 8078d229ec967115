import { describe, expect, it } from 'vitest';

import { nearest } from '../renderer/keys';
import { displayName, SceneBuilder, SINGLES_LIMIT, type SceneOptions } from '../renderer/scene';
import { forest, group, RUNTIME, stateOf, task } from './make';

const OPTIONS: SceneOptions = { grouping: 'auto', opened: new Set(), clearedAt: 0, width: 300 };

describe('SceneBuilder', () => {
  it('draws each task of a small graph, with both kinds of edges', () => {
    const state = stateOf({
      tasks: [
        task('h', { name: 'h' }),
        task('g', { name: 'g', parent: 'h' }),
        task('f', { name: 'f', parent: 'g', deps: ['h'] })
      ],
      groups: [group('g')]
    });
    const scene = new SceneBuilder().build(state, OPTIONS);
    expect(scene.grouped).toBe(false);
    expect(scene.nodes.map(node => node.key)).toEqual(['task h', 'task g', 'task f']);
    const edges = scene.layout.routes.map(({ link }) => Object.values(link).join(' '));
    expect(edges).toEqual(['h g call', 'g f call', 'h f data']);
  });

  it('draws groups where there are many tasks, or where tasks were folded away', () => {
    const builder = new SceneBuilder();
    const tasks = forest(SINGLES_LIMIT + 1);
    const groups = [group('g', { counts: { pending: tasks.length } })];
    expect(builder.build(stateOf({ tasks, groups }), OPTIONS).grouped).toBe(true);
    const few = { tasks: tasks.slice(0, 3), groups, runtime: { ...RUNTIME, dropped: 9 } };
    expect(builder.build(stateOf(few), OPTIONS).grouped).toBe(true);
    const asked = { ...OPTIONS, grouping: 'tasks' as const };
    expect(builder.build(stateOf({ tasks, groups }), asked).grouped).toBe(false);
  });

  it('still draws the tasks of small groups where one group is large', () => {
    const calls = Array.from({ length: 100 }, (_, i) =>
      task(`inc${i}`, { name: 'inc', group: 'many', parent: 'h', deps: i ? ['g'] : [] })
    );
    const state = stateOf({
      tasks: [task('h', { group: 'gh' }), task('g', { group: 'gg', parent: 'h' }), ...calls],
      groups: [
        group('gh'),
        group('gg', { parent: 'gh' }),
        group('many', { parent: 'gh', deps: ['gg'], counts: { pending: 100 } })
      ]
    });
    const scene = new SceneBuilder().build(state, OPTIONS);
    expect(scene.nodes.map(node => node.key)).toEqual(['task h', 'task g', 'group many']);
    const edges = scene.layout.routes.map(({ link }) => Object.values(link).join(' '));
    expect(edges).toEqual(['h g call', 'h many call', 'g many data']);
  });

  it('moves nothing when only states change', () => {
    const builder = new SceneBuilder();
    const before = builder.build(stateOf({ tasks: forest(30) }), OPTIONS);
    const after = builder.build(stateOf({ tasks: forest(30, 'running') }), OPTIONS);
    expect(after.layout).toBe(before.layout);
    expect(after.nodes[3]).toMatchObject({ task: { state: 'running' } });
  });

  it('moves no node of the graph when a group is opened', () => {
    const builder = new SceneBuilder();
    const tasks = forest(2000).map((row, i) => ({ ...row, group: i % 2 ? 'g1' : 'g2' }));
    const counts = { pending: 1000 };
    const state = stateOf({
      tasks,
      groups: [group('g1', { counts }), group('g2', { parent: 'g1', counts })]
    });
    const closed = builder.build(state, OPTIONS);
    const open = builder.build(state, { ...OPTIONS, opened: new Set(['g2']) });
    expect(open.layout).toBe(closed.layout);
    const lanes = open.nodes.find(node => node.kind === 'lanes');
    expect(lanes?.cells).toHaveLength(1000);
    expect(lanes?.box.y).toBeGreaterThanOrEqual(closed.height);
    expect(open.height).toBeGreaterThan(closed.height + 1000);
  });

  it('fills the width with the tasks of an opened group, which keep their numbers', () => {
    const builder = new SceneBuilder();
    const tasks = forest(100);
    const state = stateOf({ tasks, groups: [group('g', { counts: { pending: 100 } })] });
    const numbered = (width: number): { columns: number; numbers: number[]; right: number } => {
      const { nodes } = builder.build(state, { ...OPTIONS, width, opened: new Set(['g']) });
      const lanes = nodes.find(node => node.kind === 'lanes');
      const columns = new Set(lanes?.cells.map(({ box }) => box.x)).size;
      const right = (lanes?.box.x ?? 0) + (lanes?.box.width ?? 0);
      return { columns, numbers: (lanes?.cells ?? []).map(({ ordinal }) => ordinal), right };
    };
    const narrow = numbered(230);
    const wide = numbered(1400);
    expect([narrow.columns, wide.columns]).toEqual([3, 24]);
    expect(narrow.right).toBeLessThanOrEqual(230);
    expect(wide.numbers).toEqual(narrow.numbers);
    expect(wide.right).toBeGreaterThan(1350);
  });

  it('says what an opened group has no tasks to show of, and shows it where its first task was', () => {
    const runtime = { ...RUNTIME, dropped: 5000 };
    const tasks = [
      task('before', { group: 'g1', submitted: 1 }),
      task('after', { group: 'g3', submitted: 9 })
    ];
    const groups = [
      group('g1', { first: 1 }),
      group('g2', { counts: { finished: 5000 }, folded: 5000, first: 5 }),
      group('g3', { first: 9 })
    ];
    const options = { ...OPTIONS, opened: new Set(['g2']) };
    const { nodes } = new SceneBuilder().build(stateOf({ tasks, groups, runtime }), options);
    expect(nodes.map(node => node.key)).toEqual([
      'task before',
      'group g2',
      'task after',
      'lanes g2'
    ]);
    const lanes = nodes.find(node => node.kind === 'lanes');
    expect([lanes?.folded, lanes?.cells]).toEqual([5000, []]);
    expect(lanes?.box.height).toBeLessThan(60);
  });

  it('hides what had ended when the user cleared', () => {
    const builder = new SceneBuilder();
    const state = stateOf({
      tasks: [
        task('old', { state: 'finished', ended: 5 }),
        task('new', { state: 'finished', ended: 15 }),
        task('runs', { state: 'running', started: 2 })
      ],
      groups: [group('done', { counts: { finished: 2 }, last: 5 }), group('g', { last: 15 })]
    });
    const cleared = { ...OPTIONS, clearedAt: 10 };
    const keys = builder.build(state, cleared).nodes.map(node => node.key);
    expect(keys).toEqual(['task new', 'task runs']);
    const groups = builder.build(state, { ...cleared, grouping: 'groups' }).nodes;
    expect(groups.map(node => node.key)).toEqual(['group g']);
  });

  it('names the making of an actor after its class', () => {
    expect(displayName(task('a', { name: 'Counter.__init__', kind: 'actor' }))).toBe('Counter()');
    expect(displayName(task('a', { name: 'f.__init__' }))).toBe('f.__init__');
  });

  it('fills the width there is, and keeps the parts when that changes', () => {
    const builder = new SceneBuilder();
    const calls = forest(4).map(row => ({ ...row, id: `c${row.id}`, parent: row.parent && 'ct0' }));
    const alone = Array.from({ length: 8 }, (_, i) => task(`a${i}`));
    const state = stateOf({ tasks: [...calls, ...alone] });
    const narrow = builder.build(state, OPTIONS);
    const wide = builder.build(state, { ...OPTIONS, width: 500 });
    expect(narrow.width).toBeLessThanOrEqual(300);
    expect(wide.width).toBeGreaterThan(400);
    expect(wide.height).toBeLessThan(narrow.height);
    expect(wide.layout.boxes.get('ct3')).toEqual(narrow.layout.boxes.get('ct3'));
  });

  it('starts afresh with a new epoch', () => {
    const builder = new SceneBuilder();
    const state = stateOf({ tasks: forest(5) });
    const first = builder.build(state, OPTIONS);
    const next = builder.build({ ...state, epoch: 'e2' }, OPTIONS);
    expect(next.layout).not.toBe(first.layout);
  });

  it('builds a scene of 2,000 tasks in little time', () => {
    const builder = new SceneBuilder();
    const state = stateOf({
      tasks: forest(2000),
      groups: [group('g', { counts: { pending: 2000 } })]
    });
    const options = { ...OPTIONS, opened: new Set(['g']) };
    builder.build(state, options);
    const start = performance.now();
    for (let i = 0; i < 10; i++) {
      builder.build({ ...state, seq: i }, options);
    }
    expect((performance.now() - start) / 10).toBeLessThan(60);
  });
});

describe('nearest', () => {
  const box = (x: number, y: number): { x: number; y: number; width: number; height: number } => ({
    x,
    y,
    width: 10,
    height: 10
  });
  const boxes = new Map([
    ['a', box(0, 0)],
    ['right', box(50, 5)],
    ['far', box(100, 0)],
    ['below', box(0, 40)]
  ]);

  it('follows the arrows', () => {
    expect(nearest(boxes, 'a', 'ArrowRight')).toBe('right');
    expect(nearest(boxes, 'a', 'ArrowDown')).toBe('below');
    expect(nearest(boxes, 'a', 'ArrowUp')).toBeNull();
    expect(nearest(boxes, 'gone', 'ArrowUp')).toBeNull();
  });
});
