/** Contracts only: what the parts of the panel, and other extensions, may rely on. */

import type { Kernel } from '@jupyterlab/services';
import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { RayState } from './reducer';

export const PANEL_ID = 'jupyter-ray-panel';

export const CommandIDs = {
  togglePanel: 'jupyter-ray:toggle-panel',
  movePanel: 'jupyter-ray:move-panel'
} as const;

/** The part of a kernel connection that the panel uses. */
export type IKernelPort = Pick<
  Kernel.IKernelConnection,
  | 'id'
  | 'clientId'
  | 'username'
  | 'status'
  | 'connectionStatus'
  | 'isDisposed'
  | 'iopubMessage'
  | 'statusChanged'
  | 'connectionStatusChanged'
  | 'sendControlMessage'
>;

/**
 * How the panel stands with the current kernel.
 *
 * - `none`: there is no kernel
 * - `asking`: nobody has answered yet
 * - `absent`: the kernel has not loaded the extension
 * - `live`: the state is the kernel's
 * - `offline`: the state is the kernel's last one, and the connection is being restored
 */
export type Link = 'none' | 'asking' | 'absent' | 'live' | 'offline';

/**
 * Why the work of the kernel that is followed is gone: somebody has restarted it, it has died and was started again, or
 * it has ended.
 */
export type Lost = 'restarted' | 'died' | 'ended';

/** What the panel knows of the current notebook's runtime. */
export interface IRayMonitor {
  readonly link: Link;
  readonly kernelId: string | null;
  /** Null unless the link is `live` or `offline`. */
  readonly state: RayState | null;
  /** What became of the work that was shown before; null where there was none, or there is a runtime again. */
  readonly lost: Lost | null;
  /** Why the kernel's messages cannot be shown, or null. */
  readonly problem: string | null;
  /** Emitted after any of the above has changed. */
  readonly changed: ISignal<IRayMonitor, void>;
  /** The kernel's time, in Unix seconds, as far as its messages tell. */
  now(): number;
  /** Looks again for an extension that was not found: cheap, for when the panel comes into view. */
  refresh(): void;
  /** Says that everything up to the current state is on the screen. */
  drawn(): void;
  cancel(task: string, force: boolean): void;
}

export const IRayMonitor = new Token<IRayMonitor>(
  'jupyter_ray:IRayMonitor',
  'The live tasks, actors and resources of the current notebook.'
);
