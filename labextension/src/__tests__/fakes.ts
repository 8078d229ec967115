/** Fakes of what JupyterLab gives: a kernel connection, notebooks and a shell, each with its signals. */

import type { Kernel } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import { COMM_ID, type PanelMessage } from '../protocol';
import type { INotebookPort, INotebooksPort, ISessionPort, IShellPort } from '../kernelTracker';
import type { IKernelPort } from '../tokens';

interface Sent {
  readonly header: { readonly msg_type: string };
  readonly channel: string;
  readonly content: Record<string, unknown>;
}

export class FakeKernel {
  constructor(
    readonly id = 'k1',
    /** Whether the extension is loaded; null: the kernel does not answer such questions. */
    public loaded: boolean | null = true
  ) {}

  readonly clientId = 'client';
  readonly username = '';
  status: Kernel.Status = 'idle';
  connectionStatus: Kernel.ConnectionStatus = 'connected';
  isDisposed = false;
  readonly sent: Sent[] = [];
  readonly iopubMessage = new Signal<this, unknown>(this);
  readonly statusChanged = new Signal<this, Kernel.Status>(this);
  readonly connectionStatusChanged = new Signal<this, Kernel.ConnectionStatus>(this);

  get port(): IKernelPort {
    return this as unknown as IKernelPort;
  }

  sendControlMessage(message: Sent): { done: Promise<unknown> } {
    if (this.status === 'dead') {
      throw new Error('Kernel is dead');
    }
    this.sent.push(message);
    if (message.header.msg_type !== 'comm_info_request' || this.loaded === null) {
      return { done: new Promise(() => undefined) };
    }
    const comms = this.loaded ? { [COMM_ID]: { target_name: COMM_ID } } : {};
    return { done: Promise.resolve({ content: { status: 'ok', comms } }) };
  }

  /** What was sent to the comm since the last call. */
  said(): PanelMessage[] {
    return this.sent.splice(0).flatMap(({ header, content }) => {
      return header.msg_type === 'comm_msg' ? [content['data'] as PanelMessage] : [];
    });
  }

  types(): string[] {
    return this.said().map(message => message.type);
  }

  /** How often it was asked for its comms since the last call. */
  probes(): number {
    return this.sent.splice(0).filter(({ header }) => header.msg_type !== 'comm_msg').length;
  }

  push(data: object, more: { comm_id?: string; msg_type?: string; date?: string } = {}): void {
    const { comm_id = COMM_ID, msg_type = 'comm_msg', date = new Date().toISOString() } = more;
    const message = { header: { msg_type, date }, channel: 'iopub', content: { comm_id, data } };
    this.iopubMessage.emit(message);
  }

  become(status: Kernel.Status): void {
    this.status = status;
    this.statusChanged.emit(status);
  }

  connection(status: Kernel.ConnectionStatus): void {
    this.connectionStatus = status;
    this.connectionStatusChanged.emit(status);
  }
}

export class FakeSession implements ISessionPort {
  readonly kernelChanged = new Signal<this, unknown>(this);
  session: { kernel: Kernel.IKernelConnection | null } | null = null;

  use(kernel: FakeKernel | null): void {
    this.session = { kernel: kernel as unknown as Kernel.IKernelConnection | null };
    this.kernelChanged.emit(undefined);
  }
}

export interface FakeNotebook extends INotebookPort {
  readonly sessionContext: FakeSession;
  isDisposed: boolean;
}

export function fakeNotebook(kernel: FakeKernel | null = null): FakeNotebook {
  const sessionContext = new FakeSession();
  if (kernel !== null) {
    sessionContext.use(kernel);
  }
  return { sessionContext, isDisposed: false } as unknown as FakeNotebook;
}

export class FakeNotebooks implements INotebooksPort {
  readonly currentChanged = new Signal<this, unknown>(this);
  currentWidget: INotebookPort | null = null;
  readonly all = new Set<Widget>();

  has(widget: Widget): boolean {
    return this.all.has(widget);
  }

  show(notebook: INotebookPort | null): void {
    if (notebook !== null) {
      this.all.add(notebook);
    }
    this.currentWidget = notebook;
    this.currentChanged.emit(notebook);
  }
}

export class FakeShell implements IShellPort {
  readonly currentChanged = new Signal<this, unknown>(this);
  currentWidget: Widget | null = null;

  show(widget: Widget | null): void {
    this.currentWidget = widget;
    this.currentChanged.emit(widget);
  }
}
