/**
 * What of the graph is in sight, and why: the end of it, as long as the user looks there; else what the user looks at,
 * whatever changes above it; and once, a node that is to be shown.
 */

import type { Box } from '../geometry';
import { anchored, step, type Drawn } from './follow';
import type { Scene } from './scene';

/** How much beyond the visible part is drawn, in pixels, so that scrolling shows no holes. */
const OVERSCAN = 120;
/** Who is not farther from the end than this, in pixels, wants to see what comes. */
const NEAR_END = 12;

export class Viewport {
  /** `node` is the scrolled box. */
  constructor(private readonly _node: HTMLElement) {}

  /** Scrolls to the node with this key, as soon as it is there. */
  reveal(key: string): void {
    this._revealed = key;
  }

  isInSight(key: string): boolean {
    const { _drawn: drawn, _top: top } = this;
    const found = drawn?.scene.nodes.find(node => node.key === key);
    if (found === undefined || drawn === null) {
      return false;
    }
    const y = found.box.y * drawn.scale;
    return y + found.box.height * drawn.scale > top && y < top + this._node.clientHeight;
  }

  /** Goes where a picture is to be seen, which has its size already; returns whether that takes further steps. */
  show(scene: Scene, scale: number, selected: string | null): boolean {
    const isFirst = this._drawn === null;
    this._hold(scene, scale, selected);
    this._scrollToRevealed(scene, scale);
    return this._following && this._follow(isFirst);
  }

  /** The part of the picture that has to be drawn. */
  seen(scale: number): Box {
    const { _node: node } = this;
    return {
      x: (node.scrollLeft - OVERSCAN) / scale,
      y: (node.scrollTop - OVERSCAN) / scale,
      width: (node.clientWidth + 2 * OVERSCAN) / scale,
      height: (node.clientHeight + 2 * OVERSCAN) / scale
    };
  }

  /** The box was scrolled, by the user perhaps. */
  scrolled(): void {
    const { _node: node } = this;
    // Not what `_scrollTo` has done, nor the reset of a hidden element.
    if (node.clientHeight > 0 && Math.abs(node.scrollTop - this._top) > 1) {
      this._top = node.scrollTop;
      this._following = this._isNearEnd();
    }
  }

  /** What the user looks at stays where it is on the screen, whatever changes above it. */
  private _hold(scene: Scene, scale: number, selected: string | null): void {
    const { _drawn: drawn, _node: node } = this;
    if (!this._following && drawn !== null && (drawn.scene !== scene || drawn.scale !== scale)) {
      this._scrollTo(anchored(drawn, { scene, scale }, this._top, node.clientHeight, selected));
    }
    this._drawn = { scene, scale };
  }

  private _scrollToRevealed(scene: Scene, scale: number): void {
    const target = scene.nodes.find(node => node.key === this._revealed);
    if (target === undefined) {
      return;
    }
    this._revealed = null;
    const { _node: node } = this;
    const top = target.box.y * scale;
    const bottom = top + Math.min(target.box.height * scale, node.clientHeight / 2);
    if (top < node.scrollTop || bottom > node.scrollTop + node.clientHeight) {
      this._scrollTo(Math.max(0, bottom - node.clientHeight));
    }
    this._following = this._isNearEnd();
  }

  /** What is new comes last: goes to the end, in a few steps; returns whether that was one of them. */
  private _follow(atOnce: boolean): boolean {
    const { _node: node } = this;
    const end = node.scrollHeight - node.clientHeight;
    const from = node.scrollTop;
    this._scrollTo(atOnce || this._calm.matches ? end : step(from, end, node.clientHeight));
    return node.scrollTop !== from;
  }

  private _isNearEnd(): boolean {
    const { _node: node } = this;
    return node.scrollTop + node.clientHeight >= node.scrollHeight - NEAR_END;
  }

  private _scrollTo(top: number): void {
    this._node.scrollTop = top;
    this._top = this._node.scrollTop;
  }

  private readonly _calm = window.matchMedia('(prefers-reduced-motion: reduce)');
  private _drawn: Drawn | null = null;
  /** Whether the end of the graph is kept in sight, until the user looks at something else. */
  private _following = true;
  /** The key of a node to scroll to as soon as it is there. */
  private _revealed: string | null = null;
  /** Where this or the user has last scrolled to. */
  private _top = 0;
}
