import { describe, expect, it } from 'vitest';

import { anchored, step, type Drawn } from '../renderer/follow';
import { SceneBuilder } from '../renderer/scene';
import { group, stateOf, task } from './make';

describe('step', () => {
  it('goes to the end in a few steps, never beyond', () => {
    let top = 0;
    let steps = 0;
    for (; top < 300; steps++) {
      const next = step(top, 300, 400);
      expect(next).toBeGreaterThan(top);
      expect(next).toBeLessThanOrEqual(300);
      top = next;
    }
    expect(steps).toBeGreaterThan(5);
    expect(steps).toBeLessThan(30);
  });

  it('jumps where the way is long, or there is nothing to go', () => {
    expect(step(0, 5000, 400)).toBe(5000);
    expect(step(300, 300, 400)).toBe(300);
    expect(step(300, 200, 400)).toBe(200);
    expect(step(0, -50, 400)).toBe(0);
  });
});

describe('anchored', () => {
  const drawn = (children: number, scale: number): Drawn => {
    const calls = Array.from({ length: children }, (_, i) => task(`c${i}`, { parent: 'a' }));
    const tasks = [task('a'), task('b'), task('bb', { parent: 'b' }), task('z'), ...calls];
    const options = { grouping: 'auto', opened: new Set<string>(), clearedAt: 0 } as const;
    return {
      scene: new SceneBuilder().build(stateOf({ tasks }), { ...options, width: 300 }),
      scale
    };
  };
  const y = ({ scene, scale }: Drawn, id: string): number =>
    (scene.layout.boxes.get(id)?.y ?? 0) * scale;

  it('keeps what is in sight in its place when something above grows or the scale changes', () => {
    const before = drawn(1, 1);
    const after = drawn(6, 0.8);
    const top = y(before, 'b') - 5;
    expect(y(after, 'b') - anchored(before, after, top)).toBeCloseTo(5);
  });

  it('stays where it is when nothing that was in sight is left', () => {
    const before = drawn(1, 1);
    expect(anchored(before, drawn(6, 1), 9999)).toBe(9999);
  });

  it('takes the group of a task that is a part of it now for the task, and the first of a group for the group', () => {
    const build = (count: number, grouping: 'auto' | 'tasks'): Drawn => {
      const tasks = Array.from({ length: count }, (_, i) => task(`t${i}`, { group: 'many' }));
      const state = stateOf({
        tasks: [task('early', { group: 'one' }), ...tasks],
        groups: [
          group('one', { counts: { finished: 1 } }),
          group('many', { counts: { finished: count } })
        ]
      });
      const options = { grouping, opened: new Set<string>(), clearedAt: 0, width: 300 };
      return { scene: new SceneBuilder().build(state, options), scale: 1 };
    };
    const singles = build(59, 'auto');
    const joined = build(60, 'auto');
    expect([singles.scene.grouped, joined.scene.grouped]).toEqual([false, true]);
    // Of several in sight the chosen one stays in its place; out of sight it counts no more than others.
    const place = y(joined, 'many') - y(singles, 't40');
    expect(anchored(singles, joined, 200, 400, 't40')).toBeCloseTo(200 + place);
    expect(anchored(singles, joined, 200, 20, 't58')).toBeLessThan(200);
    expect(anchored(joined, build(60, 'tasks'), y(joined, 'many') - 3)).toBeCloseTo(
      y(build(60, 'tasks'), 't0') - 3
    );
  });
});
