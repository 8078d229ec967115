import { describe, expect, it } from 'vitest';

import type { Box, Link, NodeSize } from '../geometry';
import { DAGRE_LIMIT, layoutGraph, type Layout } from '../layout';

function nodes(count: number): NodeSize[] {
  return Array.from({ length: count }, (_, i) => ({ id: `n${i}`, width: 80, height: 34 }));
}

function tree(count: number, fan: number): Link[] {
  return Array.from({ length: count - 1 }, (_, i) => ({
    source: `n${Math.floor(i / fan)}`,
    target: `n${i + 1}`,
    kind: 'call'
  }));
}

function chain(count: number): Link[] {
  return tree(count, 1);
}

function overlaps(layout: Layout): number {
  const boxes = [...layout.boxes.values()];
  let count = 0;
  boxes.forEach((a, i) => {
    for (const b of boxes.slice(i + 1)) {
      count += Number(
        a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
      );
    }
  });
  return count;
}

function inside(box: Box, layout: Layout): boolean {
  return (
    box.x >= 0 &&
    box.y >= 0 &&
    box.x + box.width <= layout.width &&
    box.y + box.height <= layout.height
  );
}

describe('layoutGraph', () => {
  it.each([
    ['nothing', 0, []],
    ['one node', 1, []],
    ['strangers', 40, []],
    ['a tree', 60, tree(60, 4)],
    ['a chain', 50, chain(50)],
    ['too much for dagre', 600, tree(600, 5)]
  ])('puts %s side by side, inside the picture', (_, count, links) => {
    const layout = layoutGraph(nodes(count), links);
    expect(layout.boxes.size).toBe(count);
    expect(overlaps(layout)).toBe(0);
    expect([...layout.boxes.values()].every(box => inside(box, layout))).toBe(true);
    expect(layout.routes).toHaveLength(links.length);
  });

  it.each([60, DAGRE_LIMIT + 1])('is the same each time (%i nodes)', count => {
    const once = layoutGraph(nodes(count), tree(count, 3));
    const twice = layoutGraph(nodes(count), tree(count, 3));
    expect(Object.fromEntries(twice.boxes)).toEqual(Object.fromEntries(once.boxes));
    expect(twice.routes).toEqual(once.routes);
  });

  it('runs shallow graphs to the right and deep ones down', () => {
    expect(layoutGraph(nodes(5), tree(5, 4)).directions.get('n0')).toBe('LR');
    expect(layoutGraph(nodes(50), chain(50)).directions.get('n0')).toBe('TB');
  });

  it('does not turn back for a small gain', () => {
    const down = layoutGraph(nodes(8), chain(8));
    expect(down.directions.get('n0')).toBe('TB');
    expect(layoutGraph(nodes(4), chain(4), 320, down).directions.get('n0')).toBe('TB');
    expect(layoutGraph(nodes(4), chain(4), 330, down).directions.get('n0')).toBe('LR');
  });

  it('turns only the part that is deep, and stacks the parts in the order of arrival', () => {
    const all = nodes(30); // a single one, a chain of 20, a call of two
    const deep = chain(20).map(({ kind }, i): Link => ({
      source: `n${i + 1}`,
      target: `n${i + 2}`,
      kind
    }));
    const wide: Link[] = ['n26', 'n27'].map(target => ({ source: 'n25', target, kind: 'call' }));
    const layout = layoutGraph(all, [...deep, ...wide]);
    expect(['n0', 'n1', 'n25'].map(id => layout.directions.get(id))).toEqual(['LR', 'TB', 'LR']);
    expect(layout.width).toBeLessThan(320);
    const y = (id: string): number => layout.boxes.get(id)?.y ?? 0;
    expect(y('n0')).toBeLessThan(y('n1'));
    expect(y('n20')).toBeLessThan(y('n25'));
    expect(overlaps(layout)).toBe(0);
  });

  it('makes an outline of what fits neither way', () => {
    const [count, available] = [40, 240];
    const links = tree(count, 3);
    const layout = layoutGraph(nodes(count), links, available);
    expect(layout.directions.get('n0')).toBe('outline');
    expect(layout.width).toBeLessThanOrEqual(available);
    expect(overlaps(layout)).toBe(0);
    const box = (id: string): Box => layout.boxes.get(id) ?? { x: 0, y: 0, width: 0, height: 0 };
    for (const { source, target } of links) {
      expect(box(target).x).toBeGreaterThan(box(source).x);
      expect(box(target).y).toBeGreaterThan(box(source).y);
    }
    // A wider place has room for ranks.
    expect(layoutGraph(nodes(count), links, 800).directions.get('n0')).toBe('LR');
    expect(layoutGraph(nodes(count), links, available, layout).boxes).toEqual(layout.boxes);
  });

  it('turns only what does not fit', () => {
    const directions = [150, 300, 500].map(width =>
      layoutGraph(nodes(4), chain(4), width).directions.get('n3')
    );
    expect(directions).toEqual(['TB', 'TB', 'LR']);
    expect(layoutGraph(nodes(9), tree(9, 8), 160).directions.get('n0')).toBe('LR');
  });

  it('puts nodes without links in rows that are as wide as there is room', () => {
    for (const [available, rows] of [
      [60, 40],
      [285, 14],
      [485, 8],
      [5000, 1]
    ] as const) {
      const layout = layoutGraph(nodes(40), [], available);
      expect(overlaps(layout)).toBe(0);
      expect(layout.width).toBeLessThanOrEqual(Math.max(available, 96));
      expect(new Set([...layout.boxes.values()].map(({ y }) => y)).size).toBe(rows);
    }
  });

  it('puts nodes without links where they come in the order of arrival', () => {
    const layout = layoutGraph(nodes(7), [{ source: 'n2', target: 'n4', kind: 'call' }], 300);
    const y = nodes(7).map(({ id }) => layout.boxes.get(id)?.y ?? 0);
    expect(y[0]).toBe(y[1]);
    expect(y[2]).toBeGreaterThan(y[1] ?? 0);
    expect(y[4]).toBe(y[2]);
    expect(y[3]).toBeGreaterThan(y[2] ?? 0);
    expect(y[6]).toBe(y[3]);
    const left = ['n0', 'n2', 'n3'].map(id => layout.boxes.get(id)?.x);
    expect(new Set(left).size).toBe(1);
  });

  it('never moves what is there when more comes one by one', () => {
    // Calls of their own, and calls that make two each, in turns; then the last ones make more.
    const all = nodes(120);
    const links = all.flatMap((_, i): Link[] =>
      i % 6 > 3 ? [{ source: `n${i - (i % 6) + 3}`, target: `n${i}`, kind: 'call' }] : []
    );
    let before: Layout | null = null;
    for (let count = 6; count <= 120; count += 6) {
      const layout: Layout = layoutGraph(all.slice(0, count), links, 300, before);
      for (const [id, box] of before?.boxes ?? []) {
        expect(layout.boxes.get(id)).toEqual(box);
      }
      expect(layout.height).toBeGreaterThan(before?.height ?? 0);
      before = layout;
    }
    // The same in one go.
    expect(layoutGraph(all, links, 300)).toEqual(before);
  });

  it('only pushes down what lies below a part that grows', () => {
    const all = nodes(12);
    const call = (i: number): Link => ({ source: 'n2', target: `n${i}`, kind: 'call' });
    const other: Link = { source: 'n4', target: 'n5', kind: 'data' };
    const before = layoutGraph(all.slice(0, 8), [call(3), other]);
    const after = layoutGraph(all, [call(3), other, ...[8, 9, 10, 11].map(call)], 320, before);
    const shift = (id: string): [number, number] => {
      const [a, b] = [before.boxes.get(id), after.boxes.get(id)];
      return [(b?.x ?? 0) - (a?.x ?? 0), (b?.y ?? 0) - (a?.y ?? 0)];
    };
    expect([shift('n0'), shift('n1')]).toEqual([
      [0, 0],
      [0, 0]
    ]);
    const down = shift('n4');
    expect(down[0]).toBe(0);
    expect(down[1]).toBeGreaterThan(100);
    expect(['n5', 'n6', 'n7'].map(shift)).toEqual([down, down, down]);
  });

  it('moves nothing when something new comes', () => {
    const before = layoutGraph(nodes(8), tree(8, 3));
    const after = layoutGraph(nodes(9), tree(8, 3), 320, before);
    for (const [id, box] of before.boxes) {
      expect(after.boxes.get(id)).toEqual(box);
    }
  });

  it('draws a caller before those it calls', () => {
    for (const count of [20, DAGRE_LIMIT + 50]) {
      const layout = layoutGraph(nodes(count), tree(count, 4));
      for (const { link, direction } of layout.routes) {
        const source = layout.boxes.get(link.source);
        const target = layout.boxes.get(link.target);
        const ahead =
          direction === 'LR'
            ? (target?.x ?? 0) - (source?.x ?? 0)
            : (target?.y ?? 0) - (source?.y ?? 0);
        expect(ahead).toBeGreaterThan(0);
      }
    }
  });

  it('draws a call and data between the same two as two edges', () => {
    const links: Link[] = [
      { source: 'n0', target: 'n1', kind: 'call' },
      { source: 'n0', target: 'n1', kind: 'data' },
      { source: 'n0', target: 'n1', kind: 'data' }
    ];
    expect(layoutGraph(nodes(2), links).routes.map(({ link }) => link.kind)).toEqual([
      'call',
      'data'
    ]);
  });

  it('leaves out edges to what is not there, and from a node to itself', () => {
    const links: Link[] = [
      { source: 'gone', target: 'n1', kind: 'data' },
      { source: 'n1', target: 'n1', kind: 'data' }
    ];
    expect(layoutGraph(nodes(2), links).routes).toEqual([]);
  });

  it.each([4, DAGRE_LIMIT + 1])('survives cycles among %i nodes', count => {
    const ring: Link[] = nodes(count).map(({ id }, i) => ({
      source: id,
      target: `n${(i + 1) % count}`,
      kind: 'data'
    }));
    const layout = layoutGraph(nodes(count), ring);
    expect(overlaps(layout)).toBe(0);
  });

  it('is fast enough for what it is given', () => {
    const small = performance.now();
    layoutGraph(nodes(60), tree(60, 4));
    const large = performance.now();
    layoutGraph(nodes(2000), tree(2000, 4));
    const end = performance.now();
    const many = layoutGraph(nodes(2000), []);
    layoutGraph(nodes(2001), [], 300, many);
    const alone = performance.now();
    const pairs = nodes(400).flatMap((_, i): Link[] =>
      i % 2 ? [{ source: `n${i - 1}`, target: `n${i}`, kind: 'call' }] : []
    );
    const placed = layoutGraph(nodes(400), pairs);
    const first = performance.now();
    layoutGraph(nodes(401), pairs, 320, placed);
    const again = performance.now();
    expect(alone - end).toBeLessThan(200);
    expect(first - alone).toBeLessThan(1500);
    expect(again - first).toBeLessThan(100);
    expect(large - small).toBeLessThan(1000);
    expect(end - large).toBeLessThan(500);
  });
});
