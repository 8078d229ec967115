/** What the layouts of the graph have in common. */

export interface NodeSize {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}

export type EdgeKind = 'call' | 'data';

export interface Link {
  readonly source: string;
  readonly target: string;
  /** `call`: the source submitted the target. `data`: the source's result is an argument of the target. */
  readonly kind: EdgeKind;
}

/**
 * Left to right, top to bottom, or as an outline: each node below the one that calls it and a little to the right, as
 * files in a folder.
 */
export type Direction = 'LR' | 'TB' | 'outline';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A rectangle; `x` and `y` are its top left corner. */
export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

export interface Route {
  readonly link: Link;
  readonly points: readonly Point[];
  readonly direction: Direction;
  /** Whether other routes run in the same place from somewhere on, up to the end. */
  readonly joins?: boolean;
}

/** A graph, or a part of one, with places. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly boxes: ReadonlyMap<string, Box>;
  readonly routes: readonly Route[];
}

/** Nodes that links join, or a run of nodes without any links, in the order of arrival. */
export interface Part {
  readonly nodes: NodeSize[];
  readonly links: Link[];
}

export const MARGIN = 8;
export const NODE_GAP = 8;

/** How large a picture is, with its margins. */
export function extent(boxes: ReadonlyMap<string, Box>): { width: number; height: number } {
  let width = 0;
  let height = 0;
  for (const box of boxes.values()) {
    width = Math.max(width, box.x + box.width);
    height = Math.max(height, box.y + box.height);
  }
  return { width: width + MARGIN, height: height + MARGIN };
}
