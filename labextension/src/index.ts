import { monitorPlugin } from './plugins/monitor';
import { panelPlugin } from './plugins/panel';

export { IRayMonitor } from './tokens';
export default [monitorPlugin, panelPlugin];
