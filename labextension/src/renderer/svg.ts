/**
 * Draws the graph as SVG in a scrolled box. Only what lies in the visible part is in the document, so that thousands of
 * tasks cost as much as those on the screen; elements are kept from one picture to the next, by key.
 */

import type { Box, Route } from '../geometry';
import { SHRINK_AT_MOST } from '../layout';
import type { GraphEvents, GraphRenderer, Labels, View } from './base';
import { nearest, type Arrow } from './keys';
import {
  drawCell,
  drawEdge,
  drawGroup,
  drawLanes,
  drawTask,
  elapsed,
  make,
  set,
  ticks
} from './marks';
import type { Cell, Scene, SceneNode } from './scene';
import { Viewport } from './viewport';

interface Mark {
  readonly element: SVGElement;
  look: string;
  box: Box;
}

export class SvgRenderer implements GraphRenderer {
  readonly node: HTMLElement;

  constructor(
    private readonly _events: GraphEvents,
    private readonly _labels: Labels
  ) {
    const uid = `jr${(SvgRenderer._instances += 1)}`;
    this.node = document.createElement('div');
    this.node.className = 'jr-Graph';
    this.node.dataset['testid'] = 'jr-graph';
    this._svg = make('svg', { role: 'group', 'aria-label': _labels.graph });
    this._svg.style.setProperty('--jr-arrow-call', `url(#${uid}-call)`);
    this._svg.style.setProperty('--jr-arrow-data', `url(#${uid}-data)`);
    this._svg.append(arrows(uid), this._edges, this._nodes);
    this.node.append(this._svg);
    this.node.addEventListener('scroll', this._onScroll, { passive: true });
    this._svg.addEventListener('pointerdown', this._onPress);
    this._svg.addEventListener('pointerup', this._onRelease);
    this._svg.addEventListener('click', this._onClick);
    this._svg.addEventListener('keydown', this._onKey);
    this._viewport = new Viewport(this.node);
    this._resizes.observe(this.node);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  show(scene: Scene, view: View): void {
    this._scene = scene;
    this._view = view;
    this._schedule();
  }

  reveal(key: string): void {
    this._viewport.reveal(key);
    this._schedule();
  }

  isInSight(key: string): boolean {
    return this._viewport.isInSight(key);
  }

  dispose(): void {
    this._isDisposed = true;
    cancelAnimationFrame(this._frame);
    this._resizes.disconnect();
    this.node.remove();
  }

  private readonly _schedule = (): void => {
    if (this._frame === 0 && !this._isDisposed) {
      this._frame = requestAnimationFrame(() => {
        this._frame = 0;
        this._draw();
      });
    }
  };

  private _draw(): void {
    const { _scene: scene, _view: view, node } = this;
    if (scene === null || view === null || node.clientWidth === 0) {
      return;
    }
    if (node.clientWidth !== this._width) {
      this._width = node.clientWidth;
      this._events.onWidth(this._width);
    }
    const fit = Math.max(SHRINK_AT_MOST, Math.min(1, node.clientWidth / scene.width));
    const scale = view.zoom === 'fit' ? fit : view.zoom;
    this._resize(scene, scale);
    if (this._viewport.show(scene, scale, view.selected)) {
      this._schedule();
    }
    const seen = this._viewport.seen(scale);
    this._drawEdges(scene, seen, view.selected);
    this._drawNodes(scene, seen, view);
    this._events.onDrawn(scale);
  }

  private _resize({ width, height, grouped }: Scene, scale: number): void {
    const size = `${width} ${height} ${scale} ${grouped}`;
    if (size === this._size) {
      return; // to set them again costs a layout of the whole picture
    }
    this._size = size;
    set(this._svg, {
      width: Math.ceil(width * scale),
      height: Math.ceil(height * scale),
      viewBox: `0 0 ${width} ${height}`,
      'data-grouped': String(grouped)
    });
  }

  private readonly _onScroll = (): void => {
    this._viewport.scrolled();
    this._schedule();
  };

  private _drawNodes(scene: Scene, seen: Box, view: View): void {
    const kept = new Set<string>();
    for (const node of scene.nodes) {
      if (!meets(node.box, seen)) {
        continue;
      }
      this._drawNode(node, view, kept);
      if (node.kind === 'lanes') {
        for (const cell of node.cells) {
          if (meets(cell.box, seen)) {
            this._drawCell(cell, view, kept);
          }
        }
      }
    }
    const focused = this._nodes.querySelector<SVGElement>(':scope > :focus');
    const group = focused?.getAttribute('data-of-group');
    sweep(this._nodeMarks, kept);
    this._keepFocusable();
    // A task that has become a part of a group's node takes the keyboard along.
    if (focused?.isConnected === false && group !== null) {
      this._nodeMarks.get(`group ${group}`)?.element.focus();
    }
  }

  private _drawNode(node: SceneNode, view: View, kept: Set<string>): void {
    kept.add(node.key);
    const mark = this._mark(node.key, node.box);
    if (node.kind !== 'task') {
      const { group, box } = node;
      const open = node.kind === 'group' && node.open;
      const look = JSON.stringify([
        group.name,
        group.counts,
        group.folded,
        open,
        box.width,
        box.height
      ]);
      if (mark.look !== look) {
        mark.look = look;
        if (node.kind === 'group') {
          drawGroup(mark.element, node, this._labels);
        } else {
          drawLanes(mark.element, node, this._labels);
        }
      }
      choose(mark.element, node.kind === 'group' && group.id === view.selectedGroup);
      return;
    }
    const { task } = node;
    const time = ticks(task) ? elapsed(task, view.now) : task.ended;
    const chosen = task.id === view.selected;
    const lent = Object.keys(task.lent).join();
    const look = [task.name, task.state, time, lent, task.attempt, task.error].join(' ');
    if (mark.look !== look) {
      mark.look = look;
      drawTask(mark.element, node, view.now, this._labels);
      set(mark.element, { 'data-of-group': task.group });
    }
    choose(mark.element, chosen);
  }

  private _drawCell(cell: Cell, view: View, kept: Set<string>): void {
    const key = `cell ${cell.task.id}`;
    kept.add(key);
    const mark = this._mark(key, cell.box);
    const look = `${cell.task.state} ${cell.ordinal} ${cell.box.width} ${cell.task.error ?? ''}`;
    if (mark.look !== look) {
      mark.look = look;
      drawCell(mark.element, cell, this._labels);
    }
    choose(mark.element, cell.task.id === view.selected);
  }

  private _drawEdges(scene: Scene, seen: Box, selected: string | null): void {
    const kept = new Set<string>();
    for (const route of scene.layout.routes) {
      if (!meets(around(route), seen)) {
        continue;
      }
      const { source, target, kind } = route.link;
      const key = `${kind} ${source} ${target}`;
      kept.add(key);
      let mark = this._edgeMarks.get(key);
      if (mark === undefined) {
        mark = { element: make('path'), look: '', box: seen };
        this._edgeMarks.set(key, mark);
        this._edges.append(mark.element);
      }
      const look = `${route.direction} ${JSON.stringify(route.points)}`;
      if (mark.look !== look) {
        mark.look = look;
        drawEdge(mark.element, route);
      }
      choose(mark.element, selected !== null && (source === selected || target === selected));
    }
    sweep(this._edgeMarks, kept);
  }

  private _mark(key: string, box: Box): Mark {
    let mark = this._nodeMarks.get(key);
    if (mark === undefined) {
      mark = { element: make('g', { tabindex: -1 }), look: '', box: { ...box, x: NaN } };
      this._nodeMarks.set(key, mark);
      this._nodes.append(mark.element);
    }
    if (mark.box.x !== box.x || mark.box.y !== box.y) {
      mark.element.setAttribute('transform', `translate(${box.x} ${box.y})`);
    }
    mark.box = box;
    return mark;
  }

  // A running task is drawn anew ten times a second. The browser makes no click when what was pressed is gone at the
  // release, so a press and a release on one node are a click; the browser's own count where no pointer made them.

  private readonly _onPress = (event: PointerEvent): void => {
    this._pressed = event.button === 0 ? nodeAt(event) : null;
  };

  private readonly _onRelease = (event: PointerEvent): void => {
    const node = nodeAt(event);
    if (node !== null && node === this._pressed) {
      this._activate(node);
    }
    this._pressed = null;
  };

  private readonly _onClick = (event: MouseEvent): void => {
    const node = nodeAt(event);
    if (node !== null && event.detail === 0) {
      this._activate(node);
    }
  };

  private _activate(node: Element): void {
    const task = node.getAttribute('data-task-id');
    const group = node.getAttribute('data-group-id');
    if (task !== null) {
      this._events.onTask(task);
    } else if (group !== null) {
      this._events.onGroup(group);
    }
  }

  private readonly _onKey = (event: Event): void => {
    const { key } = event as KeyboardEvent;
    const node = (event.target as Element).closest('.jr-Node');
    if (node === null) {
      return;
    }
    if (key === 'Enter' || key === ' ') {
      this._activate(node);
    } else if (key.startsWith('Arrow')) {
      const boxes = new Map<Element, Box>();
      for (const mark of this._nodeMarks.values()) {
        boxes.set(mark.element, mark.box);
      }
      const next = nearest(boxes, node, key as Arrow) as SVGElement | null;
      if (next !== null) {
        node.setAttribute('tabindex', '-1');
        next.setAttribute('tabindex', '0');
        next.focus();
      }
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  /** One node can always be reached with the Tab key, the others from there with the arrows. */
  private _keepFocusable(): void {
    if (this._nodes.querySelector(':scope > [tabindex="0"]') === null) {
      this._nodes.firstElementChild?.setAttribute('tabindex', '0');
    }
  }

  private static _instances = 0;
  private readonly _edgeMarks = new Map<string, Mark>();
  private readonly _edges = make('g', { class: 'jr-Graph-edges', 'aria-hidden': 'true' });
  private _frame = 0;
  private _isDisposed = false;
  private readonly _nodeMarks = new Map<string, Mark>();
  private readonly _nodes = make('g');
  /** The node that the pointer was pressed on. */
  private _pressed: Element | null = null;
  private readonly _resizes = new ResizeObserver(this._schedule);
  private _scene: Scene | null = null;
  private _size = '';
  private readonly _svg: SVGElement;
  private _view: View | null = null;
  private readonly _viewport: Viewport;
  private _width = 0;
}

function choose(element: Element, chosen: boolean): void {
  element.classList.toggle('jr-mod-selected', chosen);
}

function sweep(marks: Map<string, Mark>, kept: ReadonlySet<string>): void {
  for (const [key, mark] of marks) {
    if (!kept.has(key)) {
      mark.element.remove();
      marks.delete(key);
    }
  }
}

function meets(a: Box, b: Box): boolean {
  return (
    a.x <= b.x + b.width && b.x <= a.x + a.width && a.y <= b.y + b.height && b.y <= a.y + a.height
  );
}

function around({ points }: Route): Box {
  const xs = points.map(point => point.x);
  const ys = points.map(point => point.y);
  const x = Math.min(...xs);
  const y = Math.min(...ys);
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

/** A filled arrow head for calls, an open one for data. */
function arrows(uid: string): SVGElement {
  const defs = make('defs');
  const common = {
    viewBox: '0 0 10 10',
    refX: 9,
    refY: 5,
    orient: 'auto',
    markerUnits: 'userSpaceOnUse'
  };
  const call = make('marker', { ...common, id: `${uid}-call`, markerWidth: 8, markerHeight: 8 });
  call.append(make('path', { class: 'jr-Arrow jr-mod-call', d: 'M0 1L9 5L0 9z' }));
  const data = make('marker', { ...common, id: `${uid}-data`, markerWidth: 9, markerHeight: 9 });
  data.append(make('path', { class: 'jr-Arrow jr-mod-data', d: 'M2 1.5L9 5L2 8.5' }));
  defs.append(call, data);
  return defs;
}

/** The node under an event. */
function nodeAt(event: Event): Element | null {
  return (event.target as Element).closest('.jr-Node');
}
