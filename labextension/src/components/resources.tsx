/** The resources: how much is used, by whom, and what blocked tasks have lent. */

import * as React from 'react';

import { amount } from '../format';
import type { Node, Resource } from '../protocol';
import type { Table } from '../reducer';
import { ChipText, Section, useTrans } from './common';

/** Up to this many CPUs, each is drawn as a slot. */
const SLOTS_AT_MOST = 32;
/** Of what is lent, this much is drawn; the chips below say how much it is in all. */
const LENT_SLOTS_AT_MOST = 8;
const CHIPS_AT_MOST = 8;

interface Share {
  readonly id: string;
  readonly kind: string;
  readonly label: string;
  readonly amount: number;
  readonly count: number;
}

interface Part {
  readonly id: string;
  readonly kind?: string;
  readonly label: string;
  readonly amount: number;
}

/** Parts with the same label are one share. */
export function joinShares(parts: readonly Part[]): Share[] {
  const joined = new Map<string, Share>();
  for (const { id, kind = 'task', label, amount } of parts) {
    const key = `${kind} ${label}`;
    const old = joined.get(key);
    joined.set(key, {
      id: old?.id ?? id,
      kind,
      label,
      amount: (old?.amount ?? 0) + amount,
      count: (old?.count ?? 0) + 1
    });
  }
  return [...joined.values()];
}

/** What every machine has and few programs ask for is shown only while somebody holds some. */
function isIdleBackground({ name, used, holders }: Resource): boolean {
  const background =
    name === 'memory' || name === 'object_store_memory' || /^(node|accelerator_type):/.test(name);
  return background && used === 0 && holders.length === 0;
}

/** How full each of `total` slots is when `used` of them are: between 0 and 1. */
export function slots(total: number, used: number): number[] {
  return Array.from({ length: Math.ceil(total) }, (_, index) =>
    Math.max(0, Math.min(1, used - index))
  );
}

function Slots({ resource, lent }: { resource: Resource; lent: number }): React.ReactElement {
  return (
    <div className="jr-Slots" aria-hidden="true">
      {slots(resource.total, resource.used).map((fill, index) => (
        <span key={index} className="jr-Slot">
          <span style={{ width: `${Math.round(fill * 100)}%` }} />
        </span>
      ))}
      {lent > 0 && <span className="jr-Slots-gap" />}
      {slots(Math.min(lent, LENT_SLOTS_AT_MOST), lent).map((_, index) => (
        <span key={`lent${index}`} className="jr-Slot jr-mod-lent" />
      ))}
      {lent > LENT_SLOTS_AT_MOST && <span className="jr-Muted">…</span>}
    </div>
  );
}

function Bar({ resource }: { resource: Resource }): React.ReactElement {
  const part = resource.total > 0 ? resource.used / resource.total : 0;
  return (
    <div className="jr-Bar" aria-hidden="true">
      <span style={{ width: `${Math.round(Math.min(1, part) * 100)}%` }} />
    </div>
  );
}

function Chips(props: {
  resource: Resource;
  onSelect: (id: string) => void;
}): React.ReactElement | null {
  const trans = useTrans();
  const { resource, onSelect } = props;
  const whole = resource.kind === 'GPU' ? resource.total : NaN;
  const written = (share: Share): string => {
    if (share.amount === whole) {
      return '';
    }
    if (share.amount === share.count) {
      return share.count === 1 ? '' : ` ×${share.count}`;
    }
    return ` ${amount(share.amount, resource.name)}`;
  };
  const chip = (share: Share, lent: boolean): React.ReactElement => {
    const attributes = {
      className: lent ? 'jr-Chip jr-mod-lent' : 'jr-Chip',
      'data-testid': lent ? 'jr-lent' : 'jr-resource-holder',
      'data-label': share.label,
      'data-amount': share.amount,
      'data-count': share.count,
      'data-id': share.id
    };
    const content = (
      <>
        <span className="jr-Swatch" />
        <ChipText
          name={share.label}
          rest={`${written(share)}${lent ? ` ${trans.__('lent')}` : ''}`}
        />
      </>
    );
    const key = `${lent ? 'lent' : 'held'} ${share.kind} ${share.label}`;
    return share.kind === 'task' ? (
      <button
        key={key}
        type="button"
        {...attributes}
        title={
          lent
            ? trans.__('%1 has lent it for as long as it waits for other tasks', share.label)
            : trans.__('%1 holds it', share.label)
        }
        onClick={() => {
          onSelect(share.id);
        }}
      >
        {content}
      </button>
    ) : (
      <span key={key} {...attributes} title={trans.__('The actor %1 holds it', share.label)}>
        {content}
      </span>
    );
  };
  const held = joinShares(resource.holders);
  const lent = joinShares(resource.lent);
  const more = Math.max(0, held.length - CHIPS_AT_MOST) + Math.max(0, lent.length - CHIPS_AT_MOST);
  // CPUs and GPUs keep the line for their holders, so that nothing moves each time a task starts or ends.
  if (held.length + lent.length === 0 && resource.kind === 'other') {
    return null;
  }
  return (
    <div className="jr-Chips">
      {held.slice(0, CHIPS_AT_MOST).map(share => chip(share, false))}
      {lent.slice(0, CHIPS_AT_MOST).map(share => chip(share, true))}
      {more > 0 && <span className="jr-Muted">+{more}</span>}
    </div>
  );
}

function ResourceRow(props: {
  resource: Resource;
  onSelect: (id: string) => void;
}): React.ReactElement {
  const trans = useTrans();
  const { resource, onSelect } = props;
  const lent = resource.lent.reduce((sum, part) => sum + part.amount, 0);
  const used = amount(resource.used, resource.name);
  const all = amount(resource.total, resource.name);
  return (
    <li
      className="jr-Resource"
      data-testid="jr-resource"
      data-id={resource.id}
      data-used={resource.used}
      data-total={resource.total}
      data-lent={lent}
    >
      <div className="jr-Resource-line">
        <span className="jr-Resource-name" title={resource.name}>
          {resource.name.replace(':', ' ')}
        </span>
        {resource.kind === 'CPU' && resource.total <= SLOTS_AT_MOST ? (
          <Slots resource={resource} lent={lent} />
        ) : (
          <Bar resource={resource} />
        )}
        <span className="jr-Resource-amount">{trans.__('%1 of %2', used, all)}</span>
      </div>
      <Chips resource={resource} onSelect={onSelect} />
    </li>
  );
}

/** The rows of each machine that has something to show, in the order of the machines; of one alone, without a name. */
export function byNode(
  resources: readonly Resource[],
  nodes: Table<Node>
): { node: Node | null; rows: Resource[] }[] {
  const shown = resources.filter(resource => !isIdleBackground(resource));
  if (nodes.size === 0) {
    return [{ node: null, rows: shown }];
  }
  return [...nodes.values()]
    .map(node => ({ node, rows: shown.filter(resource => resource.node === node.id) }))
    .filter(({ rows }) => rows.length > 0);
}

export const Resources = React.memo(function Resources(props: {
  resources: Table<Resource>;
  nodes: Table<Node>;
  /** Whether the runtime is there no more. */
  ended: boolean;
  onSelect: (id: string) => void;
}): React.ReactElement {
  const trans = useTrans();
  const all = [...props.resources.values()];
  return (
    <Section name="resources" title={trans.__('Resources')}>
      {all.length === 0 ? (
        <p className="jr-Empty">
          {props.ended
            ? trans.__('None: the runtime has ended.')
            : trans.__('None yet: CPUs and GPUs are taken at the first call.')}
        </p>
      ) : (
        byNode(all, props.nodes).map(({ node, rows }) => (
          <React.Fragment key={node?.id ?? ''}>
            {node !== null && (
              <h3
                className="jr-Machine"
                title={node.id}
                data-testid="jr-machine"
                data-name={node.name}
              >
                {node.name}
              </h3>
            )}
            <ul aria-label={node?.name}>
              {rows.map(resource => (
                <ResourceRow key={resource.id} resource={resource} onSelect={props.onSelect} />
              ))}
            </ul>
          </React.Fragment>
        ))
      )}
    </Section>
  );
});
