import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Widget } from '@lumino/widgets';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter_ray:plugin',
  description: 'Shows the tasks, actors and resources of the current notebook.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const panel = new Widget();
    panel.id = 'jupyter-ray-panel';
    panel.addClass('jr-Panel');
    panel.title.caption = 'jupyter_ray';
    app.shell.add(panel, 'right', { rank: 500 });
  }
};

export default plugin;
