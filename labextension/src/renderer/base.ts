/** The one port behind which the graph is drawn. */

import type { IDisposable } from '@lumino/disposable';

import type { Scene } from './scene';

/** What the user sees beyond the scene. */
export interface View {
  /** The selected task. */
  readonly selected: string | null;
  /** The group that it is in. */
  readonly selectedGroup: string | null;
  /** 1 is life size; `fit` shrinks the graph to the width there is, as far as it stays legible. */
  readonly zoom: number | 'fit';
  /** The kernel's time, in Unix seconds. */
  readonly now: number;
}

export interface GraphEvents {
  onTask(id: string): void;
  onGroup(id: string): void;
  /** After each redraw, with the scale in use. */
  onDrawn(scale: number): void;
  /** When the graph has got another width to fill, in pixels. */
  onWidth(width: number): void;
}

export interface Labels {
  state(state: string): string;
  graph: string;
  /** Which attempt this one is, counted from 1. */
  attempt(number: number): string;
  /** That so many ended tasks of a group are counted, and no more. */
  folded(count: number): string;
  openGroup: string;
  closeGroup: string;
}

export interface GraphRenderer extends IDisposable {
  readonly node: HTMLElement;
  /** Draws on the next animation frame; of several calls before that, only the last one counts. */
  show(scene: Scene, view: View): void;
  /** Scrolls to the node with this key with the next picture that has it, unless it is in sight. */
  reveal(key: string): void;
  /** Whether the node with this key can be seen in the picture that is shown now. */
  isInSight(key: string): boolean;
}
