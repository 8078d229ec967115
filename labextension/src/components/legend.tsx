/** What the shapes and lines mean. */

import * as React from 'react';

import { TASK_GLYPHS } from '../glyphs';
import { TASK_STATES } from '../protocol';
import { StateGlyph, stateMeaning, stateName, useTrans } from './common';

/** `edges`: whether what is explained has lines. */
export const Legend = React.memo(function Legend(props: { edges: boolean }): React.ReactElement {
  const trans = useTrans();
  return (
    <ul className="jr-Legend" aria-label={trans.__('Legend')} data-testid="jr-legend">
      {TASK_STATES.map(state => (
        <li key={state} title={stateMeaning(trans, state)}>
          <StateGlyph glyph={TASK_GLYPHS[state]} state={state} />
          {stateName(trans, state)}
        </li>
      ))}
      {props.edges && <Edges />}
    </ul>
  );
});

function Edges(): React.ReactElement {
  const trans = useTrans();
  return (
    <>
      <li title={trans.__('A task called another one')}>
        <svg className="jr-Icon jr-mod-wide" viewBox="0 0 28 16" aria-hidden="true">
          <path className="jr-Edge jr-mod-call" d="M1 8h20" />
          <path className="jr-Arrow jr-mod-call" d="M20 4.5l7 3.5-7 3.5z" />
        </svg>
        {trans.__('calls')}
      </li>
      <li title={trans.__('The result of a task is an argument of another one')}>
        <svg className="jr-Icon jr-mod-wide" viewBox="0 0 28 16" aria-hidden="true">
          <path className="jr-Edge jr-mod-data" d="M1 8h25" />
          <path className="jr-Arrow jr-mod-data" d="M21 4l6 4-6 4" />
        </svg>
        {trans.__('data')}
      </li>
    </>
  );
}
