/** The icon of the panel: one call that fans out into three. */

import { LabIcon } from '@jupyterlab/ui-components';

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="none" stroke="#616161" stroke-width="1.8">
    <path d="M8 12h8M8 12c5 0 4-6.5 8-6.500M8 12c5 0 4 6.5 8 6.5"/>
  </g>
  <g class="jp-icon3" fill="#616161">
    <circle cx="6" cy="12" r="3"/>
    <circle cx="18.5" cy="5.5" r="2.6"/>
    <circle cx="18.5" cy="12" r="2.6"/>
    <circle cx="18.5" cy="18.5" r="2.6"/>
  </g>
</svg>`;

export const panelIcon = new LabIcon({ name: 'jupyter-ray:panel', svgstr: SVG });
