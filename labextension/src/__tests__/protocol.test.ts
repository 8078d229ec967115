import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { RayModel } from '../model';
import {
  parseKernelMessage,
  PROTOCOL_VERSION,
  ProtocolError,
  type PanelMessage
} from '../protocol';
import { FakeKernel } from './fakes';
import { delta, snapshot, task } from './make';

const GOLDEN = join(import.meta.dirname, '../../../tests/golden');
const FROM_PANEL = ['hello', 'ack', 'cancel', 'bye'];
const FROM_KERNEL = ['snapshot', 'delta'];

function golden(types: readonly string[]): [string, Record<string, unknown>][] {
  return readdirSync(GOLDEN)
    .filter(name => name.endsWith('.json'))
    .map((name): [string, Record<string, unknown>] => [
      name,
      JSON.parse(readFileSync(join(GOLDEN, name), 'utf8')) as Record<string, unknown>
    ])
    .filter(([, message]) => types.includes(String(message['type'])));
}

describe('golden messages', () => {
  it.each(FROM_KERNEL)('has a %s', type => {
    expect(golden([type])).not.toEqual([]);
  });

  it.each(golden(FROM_KERNEL))('%s is understood whole', (_, { version, ...message }) => {
    expect(version).toBe(PROTOCOL_VERSION);
    const parsed = parseKernelMessage({ version, ...message });
    if (parsed.type === 'snapshot') {
      expect(parsed).toEqual(message);
    } else {
      expect(parsed).toMatchObject(message); // It leaves out what has not changed.
    }
  });

  it('of the panel are what it says', async () => {
    vi.useFakeTimers();
    const known = new Map(golden(FROM_PANEL).map(([, message]) => [message['type'], message]));
    const [hello, ack, cancel, bye] = FROM_PANEL.map(type => known.get(type)) as PanelMessage[];
    if (ack?.type !== 'ack' || cancel?.type !== 'cancel') {
      throw new Error('a golden message is missing');
    }
    const kernel = new FakeKernel();
    const model = new RayModel(ack.client);
    model.attach(kernel.port);
    await vi.advanceTimersByTimeAsync(0);
    kernel.push(snapshot(ack.seq, {}, ack.epoch));
    model.drawn();
    await vi.advanceTimersByTimeAsync(1000);
    model.cancel(cancel.task, cancel.force);
    model.dispose();
    vi.useRealTimers();
    expect(kernel.said()).toEqual([hello, ack, cancel, bye]);
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
