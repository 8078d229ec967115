/**
 * One kernel's end of the comm with the fixed id `jupyter_ray`.
 *
 * The comm is never opened or closed on the wire. Everything is sent on the control channel, which a kernel serves in a
 * thread of its own: so a panel that comes back in the middle of a running cell is answered at once.
 */

import { KernelMessage as Wire } from '@jupyterlab/services';
import type { JSONObject } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { COMM_ID, type PanelMessage } from './protocol';
import type { IKernelPort } from './tokens';

export interface Incoming {
  readonly data: unknown;
  /** When the kernel sent it, by the kernel's clock, in Unix seconds; NaN if it does not say. */
  readonly sent: number;
}

export class RayComm implements IDisposable {
  constructor(readonly kernel: IKernelPort) {
    kernel.iopubMessage.connect(this._onIOPub, this);
  }

  get received(): ISignal<this, Incoming> {
    return this._received;
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

  /** Sends a message; false if the kernel can take none. */
  send(message: PanelMessage): boolean {
    return (
      this._sendControl('comm_msg', { comm_id: COMM_ID, data: { ...message } }, false) !== null
    );
  }

  /**
   * Asks whether the kernel has our comm: null if it did not say.
   *
   * A message to a comm that a kernel does not know makes it write a warning into the server's log. So we look first.
   */
  async probe(): Promise<boolean | null> {
    const future = this._sendControl('comm_info_request', { target_name: COMM_ID }, true);
    if (future === null) {
      return null;
    }
    try {
      const reply = (await future.done) as
        { content?: { comms?: Record<string, unknown> } } | undefined;
      const comms = reply?.content?.comms;
      return comms === undefined ? null : Object.hasOwn(comms, COMM_ID);
    } catch {
      return null; // the kernel was restarted, or went away
    }
  }

  private _sendControl(
    msgType: string,
    content: JSONObject,
    expectReply: boolean
  ): ReturnType<IKernelPort['sendControlMessage']> | null {
    const kernel = this.kernel;
    if (this._isDisposed || kernel.isDisposed || kernel.status === 'dead') {
      return null;
    }
    // Neither message is among the types that JupyterLab lists for this channel, though kernels accept them there.
    const options = {
      msgType,
      channel: 'control',
      session: kernel.clientId,
      username: kernel.username,
      content
    };
    const message = Wire.createMessage(options as never) as Wire.IMessage as Wire.IControlMessage;
    try {
      return kernel.sendControlMessage(message, expectReply, true);
    } catch {
      return null; // the connection died between the check and the call
    }
  }

  // It must not return a promise: JupyterLab would hold back all messages of the kernel until that settles.
  private _onIOPub(_: unknown, message: Wire.IIOPubMessage): void {
    if (message.header.msg_type !== 'comm_msg') {
      return;
    }
    const content = (message as Wire.ICommMsgMsg).content;
    if (content.comm_id === COMM_ID) {
      this._received.emit({ data: content.data, sent: Date.parse(message.header.date) / 1000 });
    }
  }

  private _isDisposed = false;
  private _received = new Signal<this, Incoming>(this);
}
