/**
 * Follows the kernel of the current notebook: through switches between notebooks, a change of kernel, a page reload
 * (where the session comes later than the notebook) and notebooks without a kernel.
 */

import type { Kernel } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

/** The part of a session context that is watched. */
export interface ISessionPort {
  readonly session: { readonly kernel: Kernel.IKernelConnection | null } | null;
  readonly kernelChanged: ISignal<unknown, unknown>;
}

export interface INotebookPort extends Widget {
  readonly sessionContext: ISessionPort;
}

/** The part of `INotebookTracker` that is used. */
export interface INotebooksPort {
  readonly currentWidget: INotebookPort | null;
  readonly currentChanged: ISignal<unknown, unknown>;
  has(widget: Widget): boolean;
}

/** The part of `ILabShell` that is used. */
export interface IShellPort {
  readonly currentWidget: Widget | null;
  readonly currentChanged?: ISignal<unknown, unknown>;
}

export class KernelTracker implements IDisposable {
  constructor(
    private readonly _notebooks: INotebooksPort,
    private readonly _shell: IShellPort | null = null
  ) {
    _notebooks.currentChanged.connect(this._update, this);
    _shell?.currentChanged?.connect(this._update, this);
    this._update();
  }

  get kernel(): Kernel.IKernelConnection | null {
    return this._kernel;
  }

  /** Emitted when `kernel` is another one, never when the same one restarts. */
  get kernelChanged(): ISignal<this, Kernel.IKernelConnection | null> {
    return this._kernelChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _update(): void {
    const session = this._currentNotebook()?.sessionContext ?? null;
    if (session !== this._session) {
      this._session?.kernelChanged.disconnect(this._update, this);
      session?.kernelChanged.connect(this._update, this);
      this._session = session;
    }
    const kernel = session?.session?.kernel ?? null;
    if (kernel !== this._kernel) {
      this._kernel = kernel;
      this._kernelChanged.emit(kernel);
    }
  }

  /** After a page reload the shell knows which notebook is in front before any has had the focus. */
  private _currentNotebook(): INotebookPort | null {
    const front = this._shell?.currentWidget ?? null;
    if (front !== null && !front.isDisposed && this._notebooks.has(front)) {
      return front as INotebookPort;
    }
    const current = this._notebooks.currentWidget;
    return current === null || current.isDisposed ? null : current;
  }

  private _isDisposed = false;
  private _kernel: Kernel.IKernelConnection | null = null;
  private _kernelChanged = new Signal<this, Kernel.IKernelConnection | null>(this);
  private _session: ISessionPort | null = null;
}
