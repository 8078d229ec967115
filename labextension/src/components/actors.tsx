/** The actors: their state, their queue, and who holds a handle. */

import * as React from 'react';

import { demand, full, sentence } from '../format';
import { ACTOR_GLYPHS } from '../glyphs';
import type { Actor } from '../protocol';
import type { Table } from '../reducer';
import { ChipText, Prose, Section, StateGlyph, stateName, useTrans } from './common';

const HOLDERS_AT_MOST = 12;
/** Of the actors that are gone, the latest are shown. */
const DEAD_AT_MOST = 3;
/** So many actors of one class that nobody has named are one row. */
export const GROUP_FROM = 6;

interface Holder {
  readonly kind: string;
  readonly label: string;
  readonly holders: number;
  readonly count: number;
  readonly id: string;
}

/** Four tasks `f` with a handle each are one line: `f ×4`. */
export function joinHolders(holders: Actor['holders']): Holder[] {
  const joined = new Map<string, Holder>();
  for (const { id, kind, label, count } of holders) {
    const key = `${kind} ${label}`;
    const old = joined.get(key);
    joined.set(key, {
      kind,
      label,
      id: old?.id ?? id,
      holders: (old?.holders ?? 0) + 1,
      count: (old?.count ?? 0) + count
    });
  }
  return [...joined.values()];
}

/** Actors of one class that live and have no names: what they are together. */
export interface ActorGroup {
  readonly className: string;
  readonly members: readonly Actor[];
}

/** Put many actors of one class in one row, where the first of them is. Those with a name or an error stand alone. */
export function groupActors(alive: readonly Actor[]): (Actor | ActorGroup)[] {
  const plain = (actor: Actor): boolean =>
    actor.state === 'alive' && actor.name === null && actor.error === null;
  const members = new Map<string, Actor[]>();
  for (const actor of alive.filter(plain)) {
    const others = members.get(actor.class_name);
    if (others === undefined) {
      members.set(actor.class_name, [actor]);
    } else {
      others.push(actor);
    }
  }
  return alive.flatMap<Actor | ActorGroup>(actor => {
    const group = plain(actor) ? (members.get(actor.class_name) ?? []) : [];
    if (group.length < GROUP_FROM) {
      return [actor];
    }
    return group[0] === actor ? [{ className: actor.class_name, members: group }] : [];
  });
}

function sum(members: readonly Actor[], count: (actor: Actor) => number): number {
  return members.reduce((total, actor) => total + count(actor), 0);
}

function heldTogether(members: readonly Actor[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const { held } of members) {
    for (const [name, amount] of Object.entries(held)) {
      total[name] = (total[name] ?? 0) + amount;
    }
  }
  return total;
}

function GroupRow(props: {
  group: ActorGroup;
  onSelect: (id: string) => void;
}): React.ReactElement {
  const trans = useTrans();
  const { group, onSelect } = props;
  const { className, members } = group;
  const [open, setOpen] = React.useState(false);
  const id = React.useId();
  const running = sum(members, actor => actor.running);
  const restarts = sum(members, actor => actor.restarts);
  const held = demand(heldTogether(members));
  const facts = [
    running > 0 ? trans.__('%1 running', running) : '',
    trans.__('%1 done', full(sum(members, actor => actor.finished))),
    restarts > 0 ? trans._n('%1 restart', '%1 restarts', restarts) : '',
    held === '' ? '' : trans.__('hold %1', held)
  ].filter(text => text !== '');
  return (
    <>
      <li
        className="jr-Actor"
        data-testid="jr-actor-group"
        data-class={className}
        data-count={members.length}
      >
        <button
          type="button"
          className="jr-Actor-line jr-Actor-toggle"
          aria-expanded={open}
          aria-controls={id}
          title={open ? trans.__('Show them as one') : trans.__('Show each of them')}
          onClick={() => {
            setOpen(!open);
          }}
        >
          <StateGlyph glyph={ACTOR_GLYPHS.alive} state="actor-alive" />
          <span className="jr-Actor-name">
            {className}
            <span className="jr-Muted"> ×{members.length}</span>
            <span className="jr-Muted" aria-hidden>
              {open ? ' ▾' : ' ▸'}
            </span>
          </span>
          <span className="jr-Actor-queue">
            {trans.__('%1 queued', full(sum(members, actor => actor.queue)))}
          </span>
        </button>
        <Facts facts={facts} />
        {!open && <Holders holders={members.flatMap(actor => actor.holders)} onSelect={onSelect} />}
      </li>
      {open && (
        <li>
          <ul id={id} className="jr-Actors jr-mod-members">
            {members.map(actor => (
              <ActorRow key={actor.id} actor={actor} onSelect={onSelect} />
            ))}
          </ul>
        </li>
      )}
    </>
  );
}

/** A line that breaks between the facts only; the dots between them are drawn where both neighbours are in one line. */
function Facts({ facts }: { facts: readonly string[] }): React.ReactElement {
  return (
    <div className="jr-Actor-facts jr-Facts">
      <div className="jr-Facts-row">
        {facts.map((fact, index) => (
          <React.Fragment key={index}>
            {index > 0 && ' '}
            <span className="jr-Fact">{fact}</span>
          </React.Fragment>
        ))}
      </div>
    </div>
  );
}

function Holders(props: {
  holders: Actor['holders'];
  onSelect: (id: string) => void;
}): React.ReactElement | null {
  const trans = useTrans();
  const holders = joinHolders(props.holders);
  const title = ({ kind, label, count }: Holder): string =>
    kind === 'actor'
      ? trans._n('The actor %2 has %1 handle', 'The actor %2 has %1 handles', count, label)
      : trans._n('%2 has %1 handle', '%2 has %1 handles', count, label);
  if (holders.length === 0) {
    return null;
  }
  return (
    <div className="jr-Chips" aria-label={trans.__('Held by')}>
      <span className="jr-Chips-title">{trans.__('held by')}</span>
      {holders.slice(0, HOLDERS_AT_MOST).map(holder => {
        const times = holder.count > 1 ? ` ×${holder.count}` : '';
        const attributes = {
          'data-testid': 'jr-holder',
          'data-kind': holder.kind,
          'data-label': holder.label,
          'data-count': holder.count,
          'data-holders': holder.holders
        };
        return holder.kind === 'task' ? (
          <button
            key={`${holder.kind} ${holder.label}`}
            type="button"
            className="jr-Chip"
            title={title(holder)}
            {...attributes}
            onClick={() => {
              props.onSelect(holder.id);
            }}
          >
            <ChipText name={holder.label} rest={times} />
          </button>
        ) : (
          <span
            key={`${holder.kind} ${holder.label}`}
            className="jr-Chip"
            title={title(holder)}
            {...attributes}
          >
            <ChipText name={holder.label} rest={times} />
          </span>
        );
      })}
      {holders.length > HOLDERS_AT_MOST && (
        <span className="jr-Muted">+{holders.length - HOLDERS_AT_MOST}</span>
      )}
    </div>
  );
}

function ActorRow(props: { actor: Actor; onSelect: (id: string) => void }): React.ReactElement {
  const trans = useTrans();
  const { actor, onSelect } = props;
  const held = demand(actor.held);
  const ids = actor.gpus.join(', ');
  const resources = ids === '' ? held : trans.__('%1 (GPU %2)', held, ids);
  const facts = [
    actor.running > 0 ? trans.__('%1 running', actor.running) : '',
    trans.__('%1 done', full(actor.finished)),
    actor.restarts > 0 ? trans._n('%1 restart', '%1 restarts', actor.restarts) : '',
    resources === '' ? '' : trans.__('holds %1', resources)
  ].filter(text => text !== '');
  const state = stateName(trans, actor.state);
  const pid = actor.pid === null ? '' : `\n${trans.__('process %1', actor.pid)}`;
  return (
    <li
      className={`jr-Actor${actor.state === 'dead' ? ' jr-mod-dead' : ''}`}
      data-testid="jr-actor"
      data-actor-id={actor.id}
      data-name={actor.name ?? ''}
      data-class={actor.class_name}
      data-state={actor.state}
      data-queue={actor.queue}
      data-restarts={actor.restarts}
    >
      <div
        className="jr-Actor-line"
        title={`${actor.name === null ? '' : `${actor.name}\n`}${actor.class_name}\n${actor.id}${pid}`}
      >
        <StateGlyph glyph={ACTOR_GLYPHS[actor.state]} state={`actor-${actor.state}`} />
        <span className="jr-Actor-name">
          {actor.name ?? actor.class_name}
          {actor.name !== null && <span className="jr-Muted"> {actor.class_name}</span>}
        </span>
        <span className="jr-Actor-queue">
          {actor.state === 'alive' ? trans.__('%1 queued', full(actor.queue)) : state}
        </span>
      </div>
      <Facts facts={facts} />
      {actor.state !== 'dead' && <Holders holders={actor.holders} onSelect={onSelect} />}
      {actor.reason !== null && (
        <div className="jr-Actor-facts">
          <Prose text={sentence(actor.reason)} />
        </div>
      )}
      {actor.error !== null && <p className="jr-Error">{actor.error}</p>}
    </li>
  );
}

export const Actors = React.memo(function Actors(props: {
  actors: Table<Actor>;
  /** Dead ones that the user has cleared away. */
  hidden: ReadonlySet<string>;
  onSelect: (id: string) => void;
}): React.ReactElement {
  const trans = useTrans();
  const { actors, hidden, onSelect } = props;
  const rows = [...actors.values()].filter(({ id, state }) => state !== 'dead' || !hidden.has(id));
  const alive = rows.filter(actor => actor.state !== 'dead');
  const dead = rows.filter(actor => actor.state === 'dead').reverse();
  return (
    <Section name="actors" title={trans.__('Actors')} note={full(alive.length)}>
      {rows.length === 0 ? (
        <p className="jr-Empty">{trans.__('No actors.')}</p>
      ) : (
        <ul className="jr-Actors">
          {groupActors(alive).map(row =>
            'members' in row ? (
              <GroupRow key={`class ${row.className}`} group={row} onSelect={onSelect} />
            ) : (
              <ActorRow key={row.id} actor={row} onSelect={onSelect} />
            )
          )}
          {dead.slice(0, DEAD_AT_MOST).map(actor => (
            <ActorRow key={actor.id} actor={actor} onSelect={onSelect} />
          ))}
          {dead.length > DEAD_AT_MOST && (
            <li className="jr-Empty jr-Muted">
              {trans.__('and %1 more that have ended', dead.length - DEAD_AT_MOST)}
            </li>
          )}
        </ul>
      )}
    </Section>
  );
});
