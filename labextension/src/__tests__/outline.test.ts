import { describe, expect, it } from 'vitest';

import type { EdgeKind, Link, NodeSize, Picture } from '../geometry';
import { outline } from '../outline';

function sizes(...ids: string[]): NodeSize[] {
  return ids.map(id => ({ id, width: 80, height: 34 }));
}

function links(kind: EdgeKind, ...pairs: string[]): Link[] {
  return pairs.map(pair => {
    const [source = '', target = ''] = pair.split(' ');
    return { source, target, kind };
  });
}

/** From top to bottom, each with its depth. */
function rows({ boxes }: Picture): string[] {
  return [...boxes]
    .sort(([, a], [, b]) => a.y - b.y)
    .map(([id, { x }]) => `${'-'.repeat((x - 8) / 20)}${id}`);
}

/** The largest x that a link reaches. */
function reach(picture: Picture, target: string): number {
  const route = picture.routes.find(({ link }) => link.target === target && link.kind === 'data');
  return Math.max(...(route?.points ?? []).map(({ x }) => x));
}

describe('outline', () => {
  it('puts each node below its caller and what that called before', () => {
    const nodes = sizes('search', 'load1', 'load2', 'train1', 'report', 'other');
    const calls = links('call', 'search load1', 'search load2', 'search train1', 'train1 report');
    const picture = outline({ nodes, links: calls });
    expect(rows(picture)).toEqual(['search', '-load1', '-load2', '-train1', '--report', 'other']);
    for (const { points } of picture.routes) {
      // Down from below the caller, then right to the side of the callee.
      expect(points[0]?.x).toBe(points[1]?.x);
      expect(points[1]?.y).toBe(points[2]?.y);
    }
  });

  it('runs data and further callers beside the tree, the shortest way innermost', () => {
    const nodes = sizes('a', 'b', 'c', 'd');
    const data = links('data', 'a b', 'b c', 'a d');
    const picture = outline({
      nodes,
      links: [...links('call', 'a b', 'a c', 'b d', 'c d'), ...data]
    });
    expect(rows(picture)).toEqual(['a', '-b', '--d', '-c']);
    const widest = Math.max(...[...picture.boxes.values()].map(({ x, width }) => x + width));
    for (const { link, points } of picture.routes) {
      const isBeside = link.kind === 'data' || (link.source === 'c' && link.target === 'd');
      expect(Math.max(...points.map(({ x }) => x)) > widest).toBe(isBeside);
      expect(Math.max(...points.map(({ x }) => x))).toBeLessThan(picture.width);
    }
    expect(reach(picture, 'b')).toBeLessThanOrEqual(reach(picture, 'd'));
  });

  it('gathers what comes to one node in one lane, and uses a lane again further down', () => {
    const parts = Array.from({ length: 30 }, (_, i) => `part${i}`);
    const nodes = sizes(...parts, 'sum', 'x', 'y');
    const all = [...parts.map(id => `${id} sum`), 'x y'];
    const picture = outline({ nodes, links: links('data', ...all) });
    const lanes = picture.routes.map(({ points }) => Math.max(...points.map(({ x }) => x)));
    expect(new Set(lanes).size).toBe(1);
    // They end together, so that their dashes are to be in step there; those that begin together are anyway.
    expect(new Set(picture.routes.map(({ joins }) => joins))).toEqual(new Set([true]));
    const fan = ['n x', 'n y', 'n z'];
    const away = outline({ nodes: sizes('n', 'x', 'y', 'z'), links: links('data', ...fan) });
    expect(new Set(away.routes.map(({ joins }) => joins))).toEqual(new Set([false]));
  });

  it('stays narrow, however many links cross', () => {
    const ids = Array.from({ length: 60 }, (_, i) => `n${i}`);
    const crossing = ids.slice(0, 30).map((id, i) => `${id} n${59 - i}`);
    const picture = outline({ nodes: sizes(...ids), links: links('data', ...crossing) });
    expect(picture.width).toBeLessThan(160);
  });

  it('has a place for groups that call one another in a circle', () => {
    const picture = outline({
      nodes: sizes('a', 'b', 'c'),
      links: links('call', 'b c', 'c b', 'a a2', 'b a')
    });
    expect(rows(picture)).toEqual(['a', 'b', '-c']);
    expect(picture.routes).toHaveLength(4);
  });
});
