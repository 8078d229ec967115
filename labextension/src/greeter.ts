/**
 * Finds the extension in a kernel, and says hello to it until a snapshot comes. It has the timers of that, and nothing
 * of what is shown.
 */

import type { RayComm } from './comm';

/** Pauses between attempts to be answered, in milliseconds; the last one repeats. */
const HELLO_PAUSES = [1000, 2000, 4000, 8000, 15000];
/** Where there never was a snapshot, there may be nobody to send one. */
const HELLOS_TO_STRANGERS = 6;
/** The same for looking whether the extension is there: it announces itself when loaded, so this ends. */
const PROBE_PAUSES = [2000, 5000, 15000, 30000];
const AT_MOST_EVERY = 1000;
/** A kernel that has not answered after this time is taken for one without the extension. */
const PATIENCE = 1500;

/** What a greeter asks of who has it, and tells it. */
export interface Greeting {
  readonly comm: () => RayComm | null;
  /** Whether the kernel has ever sent a snapshot. */
  readonly isKnown: () => boolean;
  readonly sayHello: () => void;
  readonly onAbsent: () => void;
}

export class Greeter {
  constructor(private readonly _greeting: Greeting) {}

  /** Whether a hello waits for its snapshot. */
  get isAsking(): boolean {
    return this._asking;
  }

  /** Whether the last look was so long ago that there may be another one. */
  get mayLook(): boolean {
    return Date.now() - this._lastLook >= AT_MOST_EVERY;
  }

  /** Looks whether the kernel has the extension; says hello as soon as it has, or if the kernel cannot tell. */
  look(attempt = 0): void {
    const comm = this._greeting.comm();
    // JupyterLab holds back for seconds what is sent to a busy kernel before the connection stands.
    if (comm?.kernel.connectionStatus !== 'connected') {
      return;
    }
    this._lastLook = Date.now();
    this._patience ??= setTimeout(this._greeting.onAbsent, PATIENCE);
    const round = this._next();
    let answered = false;
    const pause = PROBE_PAUSES[attempt];
    if (pause !== undefined) {
      // A kernel that never answers must not end the search: where it cannot tell twice, a hello is tried.
      this._timer = setTimeout(() => {
        if (attempt > 0 && !answered) {
          this.hello();
        } else {
          this.look(attempt + 1);
        }
      }, pause);
    }
    void comm.probe().then(there => {
      if (round !== this._round || comm.isDisposed) {
        return;
      }
      answered = there !== null;
      if (there === true) {
        this.hello();
      } else if (there === false) {
        this._greeting.onAbsent();
      }
    });
  }

  /** Says hello, and again with growing pauses until it is stopped, since a snapshot has come. */
  hello(attempt = 0): void {
    this._next();
    if (!this._greeting.isKnown() && attempt >= HELLOS_TO_STRANGERS) {
      this._asking = false;
      return;
    }
    this._asking = true;
    const early = this._lastHello + AT_MOST_EVERY - Date.now();
    if (early > 0) {
      this._timer = setTimeout(() => {
        this.hello(attempt);
      }, early);
      return;
    }
    this._lastHello = Date.now();
    this._greeting.sayHello();
    const pause = HELLO_PAUSES[Math.min(attempt, HELLO_PAUSES.length - 1)];
    this._timer = setTimeout(() => {
      this.hello(attempt + 1);
    }, pause);
  }

  stop(): void {
    this._next();
    clearTimeout(this._patience);
    this._patience = undefined;
    this._asking = false;
  }

  /** Begins an attempt, and abandons the one before; returns its number. */
  private _next(): number {
    clearTimeout(this._timer);
    this._timer = undefined;
    return (this._round += 1);
  }

  private _asking = false;
  private _lastHello = -Infinity;
  private _lastLook = -Infinity;
  private _patience: ReturnType<typeof setTimeout> | undefined;
  /** Numbers the attempts, so that the answer to an abandoned one is not taken for the current one's. */
  private _round = 0;
  /** The next look or hello. */
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
