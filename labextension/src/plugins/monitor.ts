/** Follows the current notebook's kernel and provides what it says. */

import {
  ILabShell,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';

import { KernelTracker } from '../kernelTracker';
import { RayModel } from '../model';
import { IRayMonitor } from '../tokens';

export const monitorPlugin: JupyterFrontEndPlugin<IRayMonitor> = {
  id: 'jupyter_ray:monitor',
  description: "Provides the live state of the current notebook's jupyter_ray runtime.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ILabShell],
  provides: IRayMonitor,
  activate: (_: JupyterFrontEnd, notebooks: INotebookTracker, shell: ILabShell | null) => {
    const tracker = new KernelTracker(notebooks, shell);
    const model = new RayModel(UUID.uuid4());
    tracker.kernelChanged.connect((_, kernel) => {
      model.attach(kernel);
    });
    model.attach(tracker.kernel);
    window.addEventListener('pagehide', () => {
      model.attach(null); // says bye
    });
    return model;
  }
};
