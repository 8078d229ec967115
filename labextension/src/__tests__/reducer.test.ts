import { describe, expect, it } from 'vitest';

import { parseKernelMessage } from '../protocol';
import { reduce, type RayState } from '../reducer';
import { delta, group, snapshot, stateOf, task } from './make';

function apply(state: RayState | null, message: object): ReturnType<typeof reduce> {
  return reduce(state, parseKernelMessage(message));
}

describe('reduce', () => {
  it('takes a snapshot as it is', () => {
    const { kind, state } = apply(null, snapshot(7, { tasks: [task('a')], groups: [group('g')] }));
    expect(kind).toBe('applied');
    expect(state?.seq).toBe(7);
    expect([...(state?.tasks.keys() ?? [])]).toEqual(['a']);
  });

  it('replaces everything with the next snapshot', () => {
    const first = stateOf({ tasks: [task('a'), task('b')] });
    const { state } = apply(first, snapshot(1, { tasks: [task('c')] }, 'e2'));
    expect([...(state?.tasks.keys() ?? [])]).toEqual(['c']);
    expect(state?.epoch).toBe('e2');
  });

  it('changes rows where they stand and appends new ones', () => {
    const first = stateOf({ tasks: [task('a'), task('b')] });
    const { state } = apply(
      first,
      delta(2, { tasks: [task('c'), task('a', { state: 'running' })] })
    );
    expect([...(state?.tasks.keys() ?? [])]).toEqual(['a', 'b', 'c']);
    expect(state?.tasks.get('a')?.state).toBe('running');
    expect(first.tasks.get('a')?.state).toBe('pending');
    expect(first.tasks.size).toBe(2);
  });

  it('removes rows, and minds none that are not there', () => {
    const first = stateOf({ tasks: [task('a'), task('b')] });
    const { kind, state } = apply(first, delta(2, {}, { tasks: ['a', 'zzz'], actors: ['none'] }));
    expect(kind).toBe('applied');
    expect([...(state?.tasks.keys() ?? [])]).toEqual(['b']);
    expect(state?.actors).toBe(first.actors);
  });

  it('shares the tables that a delta does not touch', () => {
    const first = stateOf({ tasks: [task('a')], groups: [group('g')] });
    const { state } = apply(first, delta(2, { groups: [group('g', { folded: 3 })] }));
    expect(state?.tasks).toBe(first.tasks);
    expect(state?.groups).not.toBe(first.groups);
    expect(state?.runtime).toBe(first.runtime);
  });

  it.each([
    ['before any snapshot', null, delta(2)],
    ['with a message missing', stateOf({}), delta(3)],
    ['of another epoch', stateOf({}), delta(2, {}, {}, 'e2')]
  ])('sees a gap %s and keeps what it has', (_, state, message) => {
    expect(apply(state, message)).toEqual({ kind: 'gap', state });
  });

  it('passes over a delta that the snapshot holds already', () => {
    const { state } = apply(null, snapshot(9, { tasks: [task('a')] }));
    expect(apply(state, delta(9, {}, { tasks: ['a'] }))).toEqual({ kind: 'stale', state });
    expect(apply(state, delta(8))).toEqual({ kind: 'stale', state });
    expect(apply(state, delta(10)).kind).toBe('applied');
  });

  it('ends where a snapshot would, after many deltas', () => {
    let state: RayState | null = stateOf({});
    const now = new Map<string, ReturnType<typeof task>>();
    for (let seq = 2; seq < 200; seq++) {
      const row = task(`t${(seq * 7) % 50}`, { submitted: seq });
      const gone = `t${(seq * 3) % 50}`;
      now.set(row.id, row);
      now.delete(gone);
      const outcome: ReturnType<typeof reduce> = apply(
        state,
        delta(seq, { tasks: [row] }, { tasks: [gone] })
      );
      expect(outcome.kind).toBe('applied');
      state = outcome.state;
    }
    expect(Object.fromEntries(state?.tasks ?? [])).toEqual(Object.fromEntries(now));
  });
});
