import { describe, expect, it } from 'vitest';

import { Lanes } from '../lanes';

describe('Lanes', () => {
  const ids = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `t${from + i}`);

  it('fills rows from the left', () => {
    const lanes = new Lanes(3);
    lanes.sync(ids(0, 5));
    expect(ids(0, 5).map(id => lanes.cell(id))).toEqual([
      { column: 0, row: 0 },
      { column: 1, row: 0 },
      { column: 2, row: 0 },
      { column: 0, row: 1 },
      { column: 1, row: 1 }
    ]);
    expect(lanes.cell('other')).toBeNull();
  });

  it('never moves a task, and uses free places again', () => {
    const lanes = new Lanes(3);
    lanes.sync(ids(0, 9));
    const before = lanes.cell('t8');
    lanes.sync([...ids(3, 9), ...ids(20, 22)]);
    expect(lanes.cell('t8')).toEqual(before);
    expect(lanes.cell('t20')).toEqual({ column: 0, row: 0 });
    expect(lanes.cell('t21')).toEqual({ column: 1, row: 0 });
    expect(lanes.ordinal('t8')).toBe(9);
    expect(lanes.ordinal('t21')).toBe(11);
  });

  it('gives no place twice', () => {
    const lanes = new Lanes(5);
    for (let step = 0; step < 50; step++) {
      const present = ids(step * 7, step * 7 + 60 + (step % 9));
      lanes.sync(present);
      const places = new Set(present.map(id => JSON.stringify(lanes.cell(id))));
      expect(places.size).toBe(present.length);
    }
    expect(lanes.rows).toBeLessThanOrEqual(32);
  });

  it('grows by doubling', () => {
    const lanes = new Lanes(5);
    const rows = new Set<number>();
    for (let count = 0; count <= 2000; count += 20) {
      lanes.sync(ids(0, count));
      rows.add(lanes.rows);
    }
    expect([...rows]).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512]);
  });

  it('is fast for 2,000 tasks that come one by one', () => {
    const lanes = new Lanes(5);
    const start = performance.now();
    for (let count = 0; count <= 2000; count += 10) {
      lanes.sync(ids(0, count));
    }
    expect(performance.now() - start).toBeLessThan(1500);
  });
});
