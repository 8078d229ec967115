/** The side panel as a widget. It draws only while it is visible, and says so only after the browser has painted. */

import { nullTranslator, type ITranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { RayState } from '../reducer';
import { PANEL_ID, type IRayMonitor } from '../tokens';
import { App, type Memory } from './app';
import type { Place } from './header';
import { panelIcon } from './icon';

/** Of this browser, whatever the notebook. */
const MEMORY: Memory = {
  read() {
    try {
      return localStorage.getItem(PANEL_ID);
    } catch {
      return null; // the browser keeps nothing
    }
  },
  write(text) {
    try {
      localStorage.setItem(PANEL_ID, text);
    } catch {
      // as above
    }
  }
};

export class RayPanel extends ReactWidget {
  /** Where the panel is, if it can be moved. */
  where: (() => Place) | null = null;

  constructor(
    private readonly _monitor: IRayMonitor,
    translator: ITranslator = nullTranslator
  ) {
    super();
    this._trans = translator.load('jupyter_ray');
    this.id = PANEL_ID;
    this.addClass('jr-Panel');
    this.title.icon = panelIcon;
    this.title.caption = this._trans.__('jupyter_ray: tasks, actors and resources');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'jupyter_ray');
    _monitor.changed.connect(this._onChanged, this);
  }

  override dispose(): void {
    this._monitor.changed.disconnect(this._onChanged, this);
    super.dispose();
  }

  protected override render(): React.ReactElement {
    const { link, state, lost, problem } = this._monitor;
    return (
      <App
        link={link}
        state={state}
        problem={problem}
        lost={lost}
        place={this.where?.() ?? null}
        memory={MEMORY}
        trans={this._trans}
        paused={!this.isVisible}
        now={this._now}
        onCancel={this._cancel}
        onDrawn={this._onDrawn}
      />
    );
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._monitor.refresh();
    this.update();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.update(); // stops what ticks
  }

  private _onChanged(): void {
    const { link, state } = this._monitor;
    const live = link === 'live' && state?.runtime.state === 'ready';
    this.title.className = live ? 'jr-Tab jr-mod-live' : 'jr-Tab';
    if (this.isVisible) {
      this.update();
    }
  }

  private readonly _now = (): number => this._monitor.now();

  private readonly _cancel = (task: string, force: boolean): void => {
    this._monitor.cancel(task, force);
  };

  private readonly _onDrawn = (state: RayState | null): void => {
    // A page in the background gets no animation frames: then the kernel hears nothing, and slows down.
    requestAnimationFrame(() => {
      if (this.isDisposed || !this.isVisible) {
        return;
      }
      const { dataset } = this.node;
      dataset['kernel'] = this._monitor.kernelId ?? '';
      dataset['link'] = this._monitor.link;
      dataset['epoch'] = state?.epoch ?? '';
      dataset['seq'] = state === null ? '' : String(state.seq);
      if (state === this._monitor.state) {
        this._monitor.drawn();
      }
    });
  };

  private readonly _trans: TranslationBundle;
}
