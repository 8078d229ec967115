/** Puts the panel into the right side bar. */

import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { RayPanel } from '../components/panel';
import { CommandIDs, IRayMonitor, PANEL_ID } from '../tokens';

const RANK = 500;

/** JupyterLab's shell and Notebook 7's have it, each with an interface of its own. */
interface Collapsible {
  collapseRight(): void;
}

function isCollapsible(shell: object): shell is Collapsible {
  return typeof (shell as Partial<Collapsible>).collapseRight === 'function';
}

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter_ray:plugin',
  description: 'Shows the tasks, actors and resources of the current notebook in the side bar.',
  autoStart: true,
  requires: [IRayMonitor],
  optional: [ILabShell, ILayoutRestorer, ICommandPalette, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    monitor: IRayMonitor,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    settings: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_ray');
    const panel = new RayPanel(monitor, translator ?? nullTranslator);
    const addToSide = (): void => {
      app.shell.add(panel, 'right', { rank: RANK, type: 'jupyter_ray' });
    };
    const isInMain = (): boolean => [...app.shell.widgets('main')].includes(panel);
    addToSide();
    restorer?.add(panel, PANEL_ID);

    app.commands.addCommand(CommandIDs.togglePanel, {
      label: trans.__('Show jupyter_ray Panel'),
      caption: trans.__('Show or hide the tasks, actors and resources of the current notebook'),
      isToggleable: true,
      isToggled: () => panel.isVisible,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => {
        if (panel.isVisible && !isInMain() && isCollapsible(app.shell)) {
          app.shell.collapseRight();
        } else {
          app.shell.activateById(PANEL_ID);
        }
      }
    });
    palette?.addItem({ command: CommandIDs.togglePanel, category: 'jupyter_ray' });
    if (labShell !== null) {
      app.commands.addCommand(CommandIDs.movePanel, {
        label: () =>
          isInMain()
            ? trans.__('Put jupyter_ray Panel into the Side Bar')
            : trans.__('Open jupyter_ray Panel in the Main Area'),
        describedBy: { args: { type: 'object', properties: {} } },
        execute: () => {
          if (isInMain()) {
            addToSide();
          } else {
            app.shell.add(panel, 'main', { mode: 'split-right', type: 'jupyter_ray' });
          }
          app.shell.activateById(PANEL_ID);
        }
      });
      palette?.addItem({ command: CommandIDs.movePanel, category: 'jupyter_ray' });
      panel.where = () => ({
        inMain: isInMain(),
        move: () => {
          void app.commands.execute(CommandIDs.movePanel);
        }
      });
    }
    labShell?.layoutModified.connect(() => {
      app.commands.notifyCommandChanged(CommandIDs.togglePanel);
      app.commands.notifyCommandChanged(CommandIDs.movePanel);
      panel.title.label = isInMain() ? 'jupyter_ray' : '';
      panel.update();
    });

    if (settings !== null) {
      // After the restored layout, which may have the side bar closed.
      void app.restored
        .then(() => settings.load(panelPlugin.id))
        .then(loaded => {
          if (loaded.get('openOnStartup').composite === true) {
            app.shell.activateById(PANEL_ID);
          }
        })
        .catch((error: unknown) => {
          console.error('jupyter_ray: the settings cannot be read', error);
        });
    }
  }
};
