/** Where to scroll when the picture changes. Pure. */

import type { Scene } from './scene';

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

/** How far to scroll so that the first node in sight is again as far from the upper edge as it was. */
export function anchored(before: Drawn, after: Drawn, top: number): number {
  const boxes = new Map(after.scene.nodes.map(({ key, box }) => [key, box]));
  let anchor: { y: number; now: number } | null = null;
  for (const { key, box } of before.scene.nodes) {
    const y = box.y * before.scale;
    const now = boxes.get(key);
    if (now !== undefined && y >= top && y < (anchor?.y ?? Infinity)) {
      anchor = { y, now: now.y * after.scale };
    }
  }
  return anchor === null ? top : top + anchor.now - anchor.y;
}
