/** The state of the runtime, and what to do where there is none. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { RUNTIME_GLYPHS } from '../glyphs';
import type { Runtime, RuntimeState } from '../protocol';
import { sentence } from '../format';
import type { Link, Lost } from '../tokens';
import { Prose, StateGlyph, useTrans } from './common';

/** Where the panel is, and how to bring it elsewhere. */
export interface Place {
  readonly inMain: boolean;
  move(): void;
}

/** What to do where the runtime is there no more. */
function advice(trans: TranslationBundle, state: RuntimeState): string {
  switch (state) {
    case 'stopped':
      return trans.__('`ray.init()` or the next call starts a new one.');
    case 'dead':
      return trans.__('`ray.init()` starts a new one.');
    default:
      return '';
  }
}

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
  lost: Lost | null;
  problem: string | null;
  place: Place | null;
}): React.ReactElement {
  const trans = useTrans();
  const { link, runtime, lost, problem } = props;
  const state = runtime?.state ?? 'absent';
  // What is not heard of may be gone: no green light.
  const shown = link === 'offline' ? 'absent' : state;
  const up = shown === 'ready' || shown === 'warm' || shown === 'starting';
  const place = runtime?.engine === 'ray' ? trans.__('Ray cluster') : trans.__('this machine');
  const pid = runtime?.pid ?? null;
  const hint = pid === null ? place : trans.__('%1, process %2', place, pid);
  const words = [sentence(runtime?.message ?? ''), advice(trans, state)];
  const message = words.filter(text => text !== '').join(' ');
  return (
    <div className="jr-Header">
      <div
        className="jr-Header-line"
        role="status"
        data-testid="jr-runtime-state"
        data-state={state}
        data-link={link}
      >
        <StateGlyph glyph={RUNTIME_GLYPHS[shown]} state={`runtime-${shown}`} />
        <span className="jr-Header-title">
          {link === 'asking' && lost !== null ? trans.__('Restarting…') : title(trans, link, state)}
        </span>
        {up && (
          <span className="jr-Header-place" title={hint}>
            {place}
          </span>
        )}
        {props.place !== null && <MoveButton place={props.place} />}
      </div>
      {message !== '' && (
        <p className="jr-Header-message" data-testid="jr-runtime-message">
          <Prose text={message} />
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

function MoveButton({ place }: { place: Place }): React.ReactElement {
  const trans = useTrans();
  const label = place.inMain
    ? trans.__('Put the panel into the side bar')
    : trans.__('Open the panel in the main area');
  return (
    <button
      type="button"
      className="jr-Button jr-mod-plain jr-Header-move"
      title={label}
      aria-label={label}
      data-testid="jr-move"
      onClick={() => {
        place.move();
      }}
    >
      <svg className="jr-Icon" viewBox="0 0 16 16" aria-hidden="true">
        <path
          d={
            place.inMain
              ? 'M2.5 3.5h11v9h-11zM10.5 3.5v9'
              : 'M9.5 3h3.5v3.5M13 3l-5 5M6.5 3.5h-3v9h9v-3'
          }
        />
      </svg>
    </button>
  );
}

/** Why there is nothing where there was something. */
function lossOf(trans: TranslationBundle, lost: Lost): string {
  switch (lost) {
    case 'restarted':
      return trans.__('The kernel was restarted: its tasks and actors have ended.');
    case 'died':
      return trans.__('The kernel died and was started again: its tasks and actors have ended.');
    case 'ended':
      return trans.__('The kernel has ended, and its tasks and actors with it.');
  }
}

/** What is shown where there is no runtime. */
export function Welcome(props: { link: Link; lost: Lost | null }): React.ReactElement {
  const { link, lost } = props;
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
          {lost !== null && (
            <p className="jr-Lost" data-testid="jr-lost">
              {lossOf(trans, lost)}
            </p>
          )}
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
