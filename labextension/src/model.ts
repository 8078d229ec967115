/**
 * Owns the traffic with the current kernel: has it greeted, folds what comes, acknowledges what was drawn. It draws
 * nothing itself, and knows no widget.
 */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { RayComm, type Incoming } from './comm';
import { Greeter } from './greeter';
import { parseKernelMessage, ProtocolError, type PanelMessage } from './protocol';
import { reduce, type RayState } from './reducer';
import type { IKernelPort, IRayMonitor, Link, Lost } from './tokens';

const ACK_AT_MOST_EVERY = 500;

export class RayModel implements IRayMonitor, IDisposable {
  constructor(readonly client: string) {}

  get link(): Link {
    return this._link;
  }

  get kernelId(): string | null {
    return this._comm?.kernel.id ?? null;
  }

  get state(): RayState | null {
    return this._state;
  }

  get lost(): Lost | null {
    return this._lost;
  }

  get problem(): string | null {
    return this._problem;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  now(): number {
    return Date.now() / 1000 - (this._clockLead ?? 0);
  }

  /** Follows another kernel, or none. */
  attach(kernel: IKernelPort | null): void {
    if (this._isDisposed || (this._comm?.kernel ?? null) === kernel) {
      return;
    }
    this._detach();
    this._lost = null;
    if (kernel === null) {
      this._reset('none');
      return;
    }
    this._comm = new RayComm(kernel);
    this._comm.received.connect(this._onMessage, this);
    kernel.statusChanged.connect(this._onStatus, this);
    kernel.connectionStatusChanged.connect(this._onConnection, this);
    this._reset('asking');
    this._greeter.look();
  }

  refresh(): void {
    if (this._link === 'absent') {
      this._greeter.look();
    }
  }

  drawn(): void {
    const state = this._state;
    if (state === null || this._link !== 'live' || this._acked === ackOf(state)) {
      return;
    }
    if (this._ackTimer !== undefined) {
      return; // which then acknowledges this too
    }
    const wait = Math.max(0, this._lastAck + ACK_AT_MOST_EVERY - Date.now());
    this._ackTimer = setTimeout(() => {
      this._ackTimer = undefined;
      this._ack();
    }, wait);
  }

  cancel(task: string, force: boolean): void {
    this._send({ type: 'cancel', client: this.client, task, force });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._detach();
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _detach(): void {
    this._stopAsking();
    const comm = this._comm;
    if (comm === null) {
      return;
    }
    if (this._link === 'live') {
      this._send({ type: 'bye', client: this.client });
    }
    comm.kernel.statusChanged.disconnect(this._onStatus, this);
    comm.kernel.connectionStatusChanged.disconnect(this._onConnection, this);
    comm.dispose();
    this._comm = null;
  }

  private _reset(link: Link): void {
    this._stopAsking();
    this._link = link;
    this._state = null;
    this._problem = null;
    this._greeted = null;
    this._acked = null;
    this._clockLead = null;
    this._changed.emit();
  }

  private _stopAsking(): void {
    this._greeter.stop();
    clearTimeout(this._ackTimer);
    this._ackTimer = undefined;
  }

  private _giveUp(): void {
    if (this._link === 'asking') {
      this._link = 'absent';
      this._changed.emit();
    }
  }

  private _onMessage(_: RayComm, { data, sent }: Incoming): void {
    let outcome;
    let message;
    try {
      message = parseKernelMessage(data);
      outcome = reduce(this._state, message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        throw error;
      }
      this._problem = error.message;
      this._changed.emit();
      return;
    }
    if (message.epoch === this._past) {
      return; // the server kept it for us while the connection was renewed, and its process is gone
    }
    if (Number.isFinite(sent)) {
      // The shortest way of a message tells most about the two clocks.
      this._clockLead = Math.min(this._clockLead ?? Infinity, Date.now() / 1000 - sent);
    }
    if (outcome.kind === 'stale') {
      return;
    }
    if (outcome.kind === 'gap') {
      this._onGap();
      return;
    }
    this._state = outcome.state;
    this._link = 'live';
    this._lost = null;
    this._problem = null;
    if (message.type === 'snapshot') {
      this._onSnapshot(message.epoch);
    }
    this._changed.emit();
  }

  private _onGap(): void {
    if (this._greeter.isAsking) {
      return;
    }
    if (this._state !== null) {
      this._greeter.hello();
    } else if (this._greeter.mayLook) {
      this._greeter.look(); // it may be left over from a process that is gone
    }
  }

  /**
   * A snapshot that nobody asked for is a runtime that has just come up, and does not know us yet. One that another
   * client asked for is of an epoch that we have greeted: to answer it would make two panels greet each other for ever.
   */
  private _onSnapshot(epoch: string): void {
    const asked = this._greeter.isAsking;
    this._stopAsking();
    if (asked) {
      this._greeted = epoch;
    } else if (this._greeted !== epoch) {
      this._greeter.hello();
    }
  }

  private _onStatus(kernel: IKernelPort): void {
    switch (kernel.status) {
      case 'restarting':
      case 'autorestarting':
        this._past = this._state?.epoch ?? this._past;
        this._lose(kernel.status === 'restarting' ? 'restarted' : 'died');
        this._reset('asking');
        this._greeter.look();
        break;
      case 'dead':
      case 'terminating':
        this._lose('ended');
        this._reset('absent');
        break;
      default:
        break;
    }
  }

  /** Notes why what is shown goes, if it was work. */
  private _lose(reason: Lost): void {
    if (this._state !== null && this._state.groups.size + this._state.actors.size > 0) {
      this._lost = reason;
    }
  }

  private _onConnection(_: unknown, status: 'connecting' | 'connected' | 'disconnected'): void {
    if (status === 'connected') {
      // Deltas may be lost; so may be the news that there is a runtime at all.
      if (this._link === 'offline') {
        this._link = 'live';
        this._changed.emit();
        this._greeter.hello();
      } else if (this._link !== 'live') {
        this._greeter.look();
      }
    } else if (this._link === 'live') {
      this._stopAsking();
      this._link = 'offline';
      this._changed.emit();
    }
  }

  private _ack(): void {
    const state = this._state;
    if (state === null || this._link !== 'live') {
      return;
    }
    this._acked = ackOf(state);
    this._lastAck = Date.now();
    this._send({ type: 'ack', client: this.client, epoch: state.epoch, seq: state.seq });
  }

  private _send(message: PanelMessage): void {
    this._comm?.send(message);
  }

  private _acked: string | null = null;
  private _ackTimer: ReturnType<typeof setTimeout> | undefined;
  private _changed = new Signal<this, void>(this);
  /** How far the browser's clock is ahead of the kernel's, in seconds. */
  private _clockLead: number | null = null;
  private _comm: RayComm | null = null;
  /** The epoch whose kernel side knows this client. */
  private _greeted: string | null = null;
  private readonly _greeter = new Greeter({
    comm: () => this._comm,
    isKnown: () => this._state !== null,
    sayHello: () => {
      this._send({ type: 'hello', client: this.client });
    },
    onAbsent: () => {
      this._giveUp();
    }
  });
  private _isDisposed = false;
  private _lastAck = -Infinity;
  private _link: Link = 'none';
  private _lost: Lost | null = null;
  /** The epoch of the process that the kernel was before its restart. */
  private _past: string | null = null;
  private _problem: string | null = null;
  private _state: RayState | null = null;
}

function ackOf(state: RayState): string {
  return `${state.epoch}/${state.seq}`;
}
