/** What all parts of the panel share: words, time, glyphs, sections. */

import { nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Glyph } from '../glyphs';
import type { TaskState } from '../protocol';
import type { Part } from './view';

export interface Surroundings {
  readonly trans: TranslationBundle;
  /** The kernel's time, in Unix seconds. */
  readonly now: () => number;
  /** Whether nobody can see the panel: then nothing ticks. */
  readonly paused: boolean;
}

export const PanelContext = React.createContext<Surroundings>({
  trans: nullTranslator.load('jupyter_ray'),
  now: () => Date.now() / 1000,
  paused: false
});

/** Which parts of the panel are folded away, and how to fold one or unfold it. */
export const FoldContext = React.createContext<{
  readonly closed: ReadonlySet<Part>;
  readonly toggle: (part: Part) => void;
}>({ closed: new Set(), toggle: () => undefined });

export function useTrans(): TranslationBundle {
  return React.useContext(PanelContext).trans;
}

/** A text in which `names` between backticks are code. */
export function Prose({ text }: { text: string }): React.ReactElement {
  return (
    <>
      {text
        .split('`')
        .map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}
    </>
  );
}

/** The kernel's time; with `running`, read again once a second. */
export function useNow(running: boolean): number {
  const { now, paused } = React.useContext(PanelContext);
  const [, tick] = React.useReducer((count: number) => count + 1, 0);
  const active = running && !paused;
  React.useEffect(() => {
    if (!active) {
      return;
    }
    const timer = setInterval(tick, 1000);
    return () => {
      clearInterval(timer);
    };
  }, [active]);
  return now();
}

/** The names of all states, of tasks, actors and runtimes. */
export function stateName(trans: TranslationBundle, state: string): string {
  switch (state) {
    case 'waiting':
      return trans.__('waiting');
    case 'pending':
      return trans.__('pending');
    case 'running':
      return trans.__('running');
    case 'blocked':
      return trans.__('blocked');
    case 'finished':
      return trans.__('finished');
    case 'failed':
      return trans.__('failed');
    case 'cancelled':
      return trans.__('cancelled');
    case 'starting':
      return trans.__('starting');
    case 'alive':
      return trans.__('alive');
    case 'restarting':
      return trans.__('restarting');
    case 'dead':
      return trans.__('dead');
    default:
      return state;
  }
}

/** What a task in this state does, for the legend. */
export function stateMeaning(trans: TranslationBundle, state: TaskState): string {
  switch (state) {
    case 'waiting':
      return trans.__('Its arguments are not there yet');
    case 'pending':
      return trans.__('Waits for resources, or in the queue of its actor');
    case 'running':
      return trans.__('Runs on a worker');
    case 'blocked':
      return trans.__('Waits in get or wait for other tasks, and has lent its CPU');
    case 'finished':
      return trans.__('Has returned');
    case 'failed':
      return trans.__('Has raised an exception, or lost its worker');
    case 'cancelled':
      return trans.__('Was cancelled');
  }
}

export function StateGlyph(props: {
  glyph: Glyph;
  state: string;
  label?: string;
}): React.ReactElement {
  const { glyph, state, label } = props;
  const named =
    label === undefined ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label };
  return (
    <svg className={`jr-Icon jr-state-${state}`} viewBox="0 0 16 16" {...named}>
      {label !== undefined && <title>{label}</title>}
      <path className={`jr-Glyph jr-mod-${glyph.style} jr-state-${state}`} d={glyph.path} />
    </svg>
  );
}

/** A titled part of the panel that can be folded away. */
export function Section(props: {
  name: Part;
  title: string;
  note?: React.ReactNode;
  children: React.ReactNode;
}): React.ReactElement {
  const { closed, toggle } = React.useContext(FoldContext);
  const open = !closed.has(props.name);
  const id = React.useId();
  return (
    <section
      className={`jr-Section jr-mod-${props.name}${open ? '' : ' jr-mod-closed'}`}
      data-testid={`jr-section-${props.name}`}
    >
      <h2 className="jr-Section-head">
        <button
          type="button"
          aria-expanded={open}
          aria-controls={id}
          onClick={() => {
            toggle(props.name);
          }}
        >
          <svg className="jr-Twisty" viewBox="0 0 16 16" aria-hidden="true">
            <path d={open ? 'M4 6h8l-4 5z' : 'M6 4l5 4-5 4z'} />
          </svg>
          <span className="jr-Section-title">{props.title}</span>
          <span className="jr-Section-note">{props.note}</span>
        </button>
      </h2>
      <div id={id} className="jr-Section-body" hidden={!open}>
        {open && props.children}
      </div>
    </section>
  );
}

/** What a chip says: a name, of which a narrow panel shows the beginning, and what must be read whole. */
export function ChipText({ name, rest }: { name: string; rest: string }): React.ReactElement {
  return (
    <>
      <span className="jr-Chip-name">{name}</span>
      {rest !== '' && <span className="jr-Chip-rest">{rest}</span>}
    </>
  );
}
