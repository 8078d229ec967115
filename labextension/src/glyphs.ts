/** States as shapes: each has its own, so that none is told by its colour alone. Paths on a 16 × 16 grid. */

import type { ActorState, RuntimeState, TaskState } from './protocol';

export interface Glyph {
  readonly path: string;
  readonly style: 'fill' | 'line' | 'dots';
}

const CIRCLE = 'M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10z';
const DIAMOND = 'M8 2.5l5.5 5.5-5.5 5.5-5.5-5.5z';
const CROSS = 'M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6';

export const TASK_GLYPHS: Record<TaskState, Glyph> = {
  waiting: { path: CIRCLE, style: 'dots' },
  pending: { path: CIRCLE, style: 'line' },
  running: { path: 'M4.5 2.8l8.5 5.2-8.5 5.2z', style: 'fill' },
  blocked: { path: 'M4 3h2.8v10h-2.8zM9.2 3h2.8v10h-2.8z', style: 'fill' },
  finished: { path: 'M3.2 8.6l3.2 3.2 6.4-7.4', style: 'line' },
  failed: { path: CROSS, style: 'line' },
  cancelled: { path: `${CIRCLE}M4.5 11.5l7-7`, style: 'line' }
};

export const ACTOR_GLYPHS: Record<ActorState, Glyph> = {
  pending: { path: DIAMOND, style: 'dots' },
  starting: { path: DIAMOND, style: 'line' },
  alive: { path: DIAMOND, style: 'fill' },
  restarting: { path: 'M12.6 6.2a5 5 0 1 0 .3 2.6M12.9 2.8v3.6h-3.6', style: 'line' },
  dead: { path: CROSS, style: 'line' }
};

export const RUNTIME_GLYPHS: Record<RuntimeState, Glyph> = {
  absent: { path: CIRCLE, style: 'dots' },
  starting: { path: CIRCLE, style: 'line' },
  warm: { path: `${CIRCLE}M7.5 8h1`, style: 'line' },
  ready: { path: CIRCLE, style: 'fill' },
  stopped: { path: 'M4 4h8v8h-8z', style: 'fill' },
  dead: { path: CROSS, style: 'line' }
};
