/** Where an arrow key leads in the graph. Pure. */

import type { Box } from '../geometry';

export type Arrow = 'ArrowLeft' | 'ArrowRight' | 'ArrowUp' | 'ArrowDown';

const STEPS: Record<Arrow, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1]
};

/** The nearest one that lies that way; being off the straight line counts double. */
export function nearest<T>(boxes: ReadonlyMap<T, Box>, from: T, arrow: Arrow): T | null {
  const start = boxes.get(from);
  if (start === undefined) {
    return null;
  }
  const [dx, dy] = STEPS[arrow];
  let best: T | null = null;
  let least = Infinity;
  for (const [key, box] of boxes) {
    const x = box.x + box.width / 2 - start.x - start.width / 2;
    const y = box.y + box.height / 2 - start.y - start.height / 2;
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy) + Math.abs(y * dx);
    const cost = along + 2 * aside;
    if (key !== from && along > 1 && cost < least) {
      best = key;
      least = cost;
    }
  }
  return best;
}
