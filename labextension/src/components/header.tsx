/** The state of the runtime, and what to do where there is none. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { RUNTIME_GLYPHS } from '../glyphs';
import type { Runtime, RuntimeState } from '../protocol';
import type { Link } from '../tokens';
import { StateGlyph, useTrans } from './common';

function title(trans: TranslationBundle, link: Link, state: RuntimeState): string {
  if (link === 'offline') {
    return trans.__('Reconnecting…');
  }
  if (link === 'asking') {
    return trans.__('Connecting…');
  }
  switch (state) {
    case 'absent':
      return trans.__('Not running');
    case 'starting':
      return trans.__('Starting…');
    case 'warm':
      return trans.__('Warmed up');
    case 'ready':
      return trans.__('Ready');
    case 'stopped':
      return trans.__('Stopped');
    case 'dead':
      return trans.__('Ended unexpectedly');
  }
}

export function Header(props: {
  link: Link;
  runtime: Runtime | null;
  problem: string | null;
}): React.ReactElement {
  const trans = useTrans();
  const { link, runtime, problem } = props;
  const state = runtime?.state ?? 'absent';
  const up = state === 'ready' || state === 'warm' || state === 'starting';
  const place = runtime?.engine === 'ray' ? trans.__('Ray cluster') : trans.__('this machine');
  const pid = runtime?.pid ?? null;
  const hint = pid === null ? place : trans.__('%1, process %2', place, pid);
  return (
    <div className="jr-Header">
      <div
        className="jr-Header-line"
        role="status"
        data-testid="jr-runtime-state"
        data-state={state}
        data-link={link}
      >
        <StateGlyph glyph={RUNTIME_GLYPHS[state]} state={`runtime-${state}`} />
        <span className="jr-Header-title">{title(trans, link, state)}</span>
        {up && (
          <span className="jr-Header-place" title={hint}>
            {place}
          </span>
        )}
      </div>
      {runtime?.message && (
        <p className="jr-Header-message" data-testid="jr-runtime-message">
          {runtime.message}
        </p>
      )}
      {problem !== null && (
        <p className="jr-Header-message jr-mod-problem" role="alert" data-testid="jr-problem">
          {trans.__(
            'This page and the kernel have different versions of jupyter_ray (%1). Reload the page and restart the kernel.',
            problem
          )}
        </p>
      )}
    </div>
  );
}

/** What is shown where there is no runtime. */
export function Welcome({ link }: { link: Link }): React.ReactElement {
  const trans = useTrans();
  if (link === 'asking') {
    return <div className="jr-Welcome" data-testid="jr-welcome" />;
  }
  return (
    <div className="jr-Welcome" data-testid="jr-welcome">
      {link === 'none' ? (
        <p>{trans.__('Open a notebook to see its tasks, actors and resources here.')}</p>
      ) : (
        <>
          {link !== 'live' && (
            <>
              <p>{trans.__('To see tasks, actors and resources here, run this in a cell:')}</p>
              <pre>
                <code>%load_ext jupyter_ray</code>
              </pre>
            </>
          )}
          <p>{trans.__('Then call a remote function:')}</p>
          <pre>
            <code>
              {
                'import jupyter_ray as ray\n\n@ray.remote\ndef f(x):\n    return x * x\n\nray.get(f.remote(7))'
              }
            </code>
          </pre>
        </>
      )}
    </div>
  );
}
