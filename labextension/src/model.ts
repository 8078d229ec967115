/**
 * Owns the traffic with the current kernel: says hello until it is answered, folds what comes, acknowledges what was
 * drawn. It draws nothing itself, and knows no widget.
 */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { RayComm, type Incoming } from './comm';
import { parseKernelMessage, ProtocolError, type PanelMessage } from './protocol';
import { reduce, type RayState } from './reducer';
import type { IKernelPort, IRayMonitor, Link, Lost } from './tokens';

/** Pauses between attempts to be answered, in milliseconds; the last one repeats. */
const HELLO_PAUSES = [1000, 2000, 4000, 8000, 15000];
/** Where there never was a snapshot, there may be nobody to send one. */
const HELLOS_TO_STRANGERS = 6;
/** The same for looking whether the extension is there: it announces itself when loaded, so this ends. */
const PROBE_PAUSES = [2000, 5000, 15000, 30000];
const HELLO_AT_MOST_EVERY = 1000;
const ACK_AT_MOST_EVERY = 500;
/** A kernel that has not answered after this time is shown as one without the extension. */
const PATIENCE = 1500;

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
    this._look();
  }

  refresh(): void {
    if (this._link === 'absent') {
      this._look();
    }
  }

  drawn(): void {
    const state = this._state;
    if (state === null || this._link !== 'live' || this._acked === ackOf(state)) {
      return;
    }
    if (this._ackTimer !== undefined) {
      return;
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
    clearTimeout(this._askTimer);
    clearTimeout(this._ackTimer);
    clearTimeout(this._patience);
    this._askTimer = this._ackTimer = this._patience = undefined;
    this._asking = false;
    this._round += 1;
  }

  /** Looks whether the kernel has the extension; says hello as soon as it has, or if the kernel cannot tell. */
  private _look(attempt = 0): void {
    const comm = this._comm;
    // JupyterLab holds back for seconds what is sent to a busy kernel before the connection stands.
    if (comm === null || comm.kernel.connectionStatus !== 'connected') {
      return;
    }
    clearTimeout(this._askTimer);
    this._lastLook = Date.now();
    const round = (this._round += 1);
    this._patience ??= setTimeout(() => {
      this._giveUp();
    }, PATIENCE);
    const pause = PROBE_PAUSES[attempt];
    // A kernel that never answers must not end the search.
    this._askTimer = setTimeout(() => {
      if (pause === undefined) {
        return;
      }
      if (attempt > 0 && !answered) {
        this._hello(); // it cannot tell, so try
      } else {
        this._look(attempt + 1);
      }
    }, pause ?? 0);
    let answered = false;
    void comm.probe().then(there => {
      if (round !== this._round || comm.isDisposed) {
        return;
      }
      answered = there !== null;
      if (there === true) {
        this._hello();
      } else if (there === false) {
        this._giveUp();
      }
    });
  }

  private _giveUp(): void {
    if (this._link === 'asking') {
      this._link = 'absent';
      this._changed.emit();
    }
  }

  /** Says hello, and again with growing pauses until a snapshot comes. */
  private _hello(attempt = 0): void {
    clearTimeout(this._askTimer);
    this._round += 1;
    if (this._state === null && attempt >= HELLOS_TO_STRANGERS) {
      this._asking = false;
      return;
    }
    this._asking = true;
    const early = this._lastHello + HELLO_AT_MOST_EVERY - Date.now();
    if (early > 0) {
      this._askTimer = setTimeout(() => {
        this._hello(attempt);
      }, early);
      return;
    }
    this._lastHello = Date.now();
    this._send({ type: 'hello', client: this.client });
    const pause = HELLO_PAUSES[Math.min(attempt, HELLO_PAUSES.length - 1)];
    this._askTimer = setTimeout(() => {
      this._hello(attempt + 1);
    }, pause);
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
    if (this._asking) {
      return;
    }
    if (this._state !== null) {
      this._hello();
    } else if (Date.now() - this._lastLook >= HELLO_AT_MOST_EVERY) {
      this._look(); // it may be left over from a process that is gone
    }
  }

  /**
   * A snapshot that nobody asked for is a runtime that has just come up, and does not know us yet. One that another
   * client asked for is of an epoch that we have greeted: to answer it would make two panels greet each other for ever.
   */
  private _onSnapshot(epoch: string): void {
    const asked = this._asking;
    this._stopAsking();
    if (asked) {
      this._greeted = epoch;
    } else if (this._greeted !== epoch) {
      this._hello();
    }
  }

  private _onStatus(kernel: IKernelPort): void {
    switch (kernel.status) {
      case 'restarting':
      case 'autorestarting':
        this._past = this._state?.epoch ?? this._past;
        this._lose(kernel.status === 'restarting' ? 'restarted' : 'died');
        this._reset('asking');
        this._look();
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
        this._hello();
      } else if (this._link !== 'live') {
        this._look();
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
  /** The next look or hello. */
  private _askTimer: ReturnType<typeof setTimeout> | undefined;
  /** A hello waits for its snapshot. */
  private _asking = false;
  private _changed = new Signal<this, void>(this);
  /** How far the browser's clock is ahead of the kernel's, in seconds. */
  private _clockLead: number | null = null;
  private _comm: RayComm | null = null;
  /** The epoch whose kernel side knows this client. */
  private _greeted: string | null = null;
  private _isDisposed = false;
  private _lastAck = -Infinity;
  private _lastHello = -Infinity;
  private _lastLook = -Infinity;
  private _link: Link = 'none';
  private _lost: Lost | null = null;
  /** The epoch of the process that the kernel was before its restart. */
  private _past: string | null = null;
  private _patience: ReturnType<typeof setTimeout> | undefined;
  private _problem: string | null = null;
  /** Numbers the attempts, so that the answer to an abandoned one is not taken for the current one's. */
  private _round = 0;
  private _state: RayState | null = null;
}

function ackOf(state: RayState): string {
  return `${state.epoch}/${state.seq}`;
}
