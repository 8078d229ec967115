import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { parseKernelMessage, parsePanelMessage, ProtocolError } from '../protocol';
import { delta, snapshot, task } from './make';

const GOLDEN = join(import.meta.dirname, '../../../tests/golden');
const FROM_PANEL = new Set(['hello', 'ack', 'bye', 'cancel']);
const TYPES = new Set([...FROM_PANEL, 'snapshot', 'delta']);

function golden(): [string, Record<string, unknown>][] {
  return readdirSync(GOLDEN)
    .filter(name => name.endsWith('.json'))
    .map((name): [string, Record<string, unknown>] => [
      name,
      JSON.parse(readFileSync(join(GOLDEN, name), 'utf8')) as Record<string, unknown>
    ])
    .filter(([, message]) => TYPES.has(String(message['type'])));
}

/** Every field that the kernel sends must be in what the panel read, with the same value. */
function without(message: Record<string, unknown>, ...keys: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(message).filter(([key]) => !keys.includes(key)));
}

describe('golden messages', () => {
  it('has one of each type', () => {
    expect(new Set(golden().map(([, message]) => message['type']))).toEqual(TYPES);
  });

  it.each(golden())('%s is understood whole', (_, message) => {
    if (FROM_PANEL.has(String(message['type']))) {
      expect(parsePanelMessage(message)).toEqual(without(message, 'version'));
      return;
    }
    const parsed = parseKernelMessage(message);
    if (parsed.type === 'snapshot') {
      expect(parsed).toEqual(without(message, 'version'));
    } else {
      expect(parsed).toMatchObject(without(message, 'version'));
    }
  });
});

describe('parseKernelMessage', () => {
  it('names the path of what is wrong', () => {
    const bad = snapshot(1, { tasks: [task('a'), { ...task('b'), state: 'sleeping' as never }] });
    expect(() => parseKernelMessage(bad)).toThrow(
      /^state\.tasks\.1\.state: expected one of waiting/
    );
  });

  it.each([
    ['nothing', undefined],
    ['a list', []],
    ['another version', { ...snapshot(), version: 2 }],
    ['no version', { ...snapshot(), version: undefined }],
    ['another type', { ...snapshot(), type: 'hello' }],
    ['a sequence number with a fraction', { ...snapshot(), seq: 1.5 }],
    ['a text for a number', { ...snapshot(), seq: '1' }],
    ['no state', { ...snapshot(), state: null }],
    ['a missing field', { ...snapshot(1, { tasks: [{ id: 'a' } as never] }) }]
  ])('refuses %s', (_, message) => {
    expect(() => parseKernelMessage(message)).toThrow(ProtocolError);
  });

  it('drops fields that it does not know', () => {
    const parsed = parseKernelMessage({ ...snapshot(), later: 1 });
    expect(parsed).not.toHaveProperty('later');
  });

  it('fills in what a delta leaves out', () => {
    const parsed = parseKernelMessage(delta(2));
    expect(parsed).toMatchObject({
      upsert: { runtime: null, tasks: [], groups: [] },
      remove: { tasks: [] }
    });
  });

  it('takes little time for a large snapshot', () => {
    const tasks = Array.from({ length: 2000 }, (_, i) => task(`t${i}`));
    const start = performance.now();
    parseKernelMessage(snapshot(1, { tasks }));
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe('parsePanelMessage', () => {
  it.each([[{ type: 'snapshot' }], [{ type: 'ack', client: 'c' }], [null]])(
    'refuses %j',
    message => {
      expect(() => parsePanelMessage(message)).toThrow(ProtocolError);
    }
  );
});
