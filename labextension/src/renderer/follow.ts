/** Where to scroll when the picture changes. Pure. */

import type { Box } from '../geometry';
import type { Scene, SceneNode } from './scene';

/** A scene, and the scale it is drawn in. */
export interface Drawn {
  readonly scene: Scene;
  readonly scale: number;
}

/** What part of the rest of the way one animation frame goes. */
const PACE = 0.2;

/** The next place on the way to the end. A way longer than the screen is not scrolled but jumped. */
export function step(top: number, end: number, screen: number): number {
  const way = end - top;
  return way <= 1 || way > 2 * screen ? Math.max(0, end) : top + Math.ceil(way * PACE);
}

/** The node of a picture that shows what `key` shows in another one: itself, its group, or the first task of it. */
function places({ nodes }: Scene): (node: SceneNode) => Box | undefined {
  const boxes = new Map<string, Box>();
  for (const node of nodes) {
    boxes.set(node.key, node.box);
    if (node.kind === 'task' && !boxes.has(`in ${node.task.group}`)) {
      boxes.set(`in ${node.task.group}`, node.box);
    }
  }
  return node => {
    const instead = node.kind === 'task' ? `group ${node.task.group}` : `in ${node.group.id}`;
    return boxes.get(node.key) ?? (node.kind === 'lanes' ? undefined : boxes.get(instead));
  };
}

/**
 * How far to scroll so that what was looked at is again as far from the upper edge as it was: the chosen node if it was
 * in sight, else the first one there. Where tasks have become one node, that is what was looked at.
 */
export function anchored(
  before: Drawn,
  after: Drawn,
  top: number,
  screen = Infinity,
  selected: string | null = null
): number {
  const place = places(after.scene);
  let anchor: { y: number; now: number } | null = null;
  for (const node of before.scene.nodes) {
    const y = node.box.y * before.scale;
    const now = place(node);
    if (now === undefined || y < top) {
      continue;
    }
    const chosen = node.kind === 'task' && node.task.id === selected && y < top + screen;
    if (chosen || y < (anchor?.y ?? Infinity)) {
      anchor = { y, now: now.y * after.scale };
    }
    if (chosen) {
      break;
    }
  }
  return anchor === null ? top : top + anchor.now - anchor.y;
}
