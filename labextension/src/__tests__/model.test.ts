import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { RayModel } from '../model';
import { FakeKernel } from './fakes';
import { delta, group, snapshot, task } from './make';

let model: RayModel;
let kernel: FakeKernel;

/** Lets promises settle and `ms` milliseconds pass. */
async function pass(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Attached, greeted and answered. */
async function live(): Promise<void> {
  model.attach(kernel.port);
  await pass();
  kernel.push(snapshot());
  kernel.said();
}

beforeEach(() => {
  vi.useFakeTimers();
  model = new RayModel('me');
  kernel = new FakeKernel();
});

afterEach(() => {
  model.dispose();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe('attaching', () => {
  it('says hello at once where the extension is loaded', async () => {
    model.attach(kernel.port);
    expect(model.link).toBe('asking');
    await pass();
    expect(kernel.said()).toEqual([{ type: 'hello', client: 'me' }]);
    kernel.push(snapshot(3));
    expect(model.link).toBe('live');
    expect(model.state?.seq).toBe(3);
    expect(model.kernelId).toBe('k1');
    await pass(60_000);
    expect(kernel.types()).toEqual([]);
  });

  it('waits for the connection', async () => {
    kernel.connectionStatus = 'connecting';
    model.attach(kernel.port);
    await pass(10_000);
    expect(model.link).toBe('asking');
    expect(kernel.sent).toEqual([]);
    kernel.connection('connected');
    await pass();
    expect(kernel.types()).toEqual(['hello']);
    kernel.push(snapshot());
    expect(model.link).toBe('live');
  });

  it('says hello again, with growing pauses, until a snapshot comes', async () => {
    await live();
    kernel.push(delta(9));
    const times: number[] = [];
    for (let second = 0; second <= 70; second++) {
      await pass(second === 0 ? 0 : 1000);
      times.push(...kernel.types().map(() => second));
    }
    expect(times).toEqual([1, 2, 4, 8, 16, 31, 46, 61]);
  });

  it('says nothing to a kernel without the extension, and shows it as absent', async () => {
    kernel.loaded = false;
    model.attach(kernel.port);
    await pass();
    expect(model.link).toBe('absent');
    await pass(300_000);
    expect(kernel.sent.length).toBeLessThan(8);
    expect(kernel.types()).toEqual([]);
  });

  it('greets an extension that is loaded later', async () => {
    kernel.loaded = false;
    model.attach(kernel.port);
    await pass(100_000);
    kernel.said();
    kernel.push(snapshot(1));
    expect(model.link).toBe('live');
    expect(kernel.types()).toEqual(['hello']);
    kernel.push(snapshot(2));
    await pass(60_000);
    expect(kernel.types()).toEqual([]);
  });

  it('tries a few times where the kernel cannot tell what it has', async () => {
    kernel.loaded = null;
    model.attach(kernel.port);
    await pass(1600);
    expect(model.link).toBe('absent');
    await pass(600_000);
    const hellos = kernel.types();
    expect(hellos.length).toBeGreaterThan(0);
    expect(hellos.length).toBeLessThan(8);
  });

  it('says bye to the kernel that it leaves', async () => {
    await live();
    const other = new FakeKernel('k2');
    model.attach(other.port);
    expect(kernel.types()).toEqual(['bye']);
    expect(model.state).toBeNull();
    kernel.push(snapshot(5));
    expect(model.state).toBeNull();
    await pass();
    other.push(snapshot(1));
    expect(model.kernelId).toBe('k2');
    model.attach(null);
    expect(model.link).toBe('none');
    expect(other.types()).toContain('bye');
  });

  it('looks again when asked to, for a panel that comes into view', async () => {
    kernel.loaded = false;
    model.attach(kernel.port);
    await pass(300_000);
    kernel.loaded = true;
    kernel.said();
    model.refresh();
    await pass();
    expect(kernel.types()).toEqual(['hello']);
    kernel.push(snapshot());
  });
});

describe('following', () => {
  it('folds deltas', async () => {
    await live();
    kernel.push(delta(2, { tasks: [task('a')] }));
    kernel.push(delta(3, { tasks: [task('a', { state: 'running' })] }));
    expect(model.state?.tasks.get('a')?.state).toBe('running');
    expect(kernel.types()).toEqual([]);
  });

  it('asks for a snapshot once after a gap, not for each delta that follows', async () => {
    await live();
    await pass(5000);
    for (let seq = 7; seq < 17; seq++) {
      kernel.push(delta(seq));
    }
    expect(kernel.types()).toEqual(['hello']);
    expect(model.state?.seq).toBe(1);
    kernel.push(snapshot(17));
    kernel.push(delta(18));
    expect(model.state?.seq).toBe(18);
  });

  it('does not flood a kernel that answers each hello with another gap', async () => {
    await live();
    for (let i = 0; i < 50; i++) {
      kernel.push(snapshot(100 * i));
      kernel.push(delta(100 * i + 7));
      await pass(100);
    }
    expect(kernel.types().length).toBeLessThanOrEqual(6);
    kernel.push(snapshot(9999));
  });

  it('does not answer snapshots that another panel asked for', async () => {
    await live();
    kernel.push(snapshot(2));
    kernel.push(snapshot(3));
    await pass(5000);
    expect(kernel.types()).toEqual([]);
  });

  it('greets a new epoch', async () => {
    await live();
    await pass(5000);
    kernel.push(snapshot(1, {}, 'e2'));
    expect(kernel.types()).toEqual(['hello']);
    kernel.push(snapshot(2, {}, 'e2'));
    expect(model.state?.epoch).toBe('e2');
  });

  it('tells what it does not understand, and goes on', async () => {
    await live();
    kernel.push({ ...delta(2), version: 99 });
    expect(model.problem).toContain('version');
    expect(model.link).toBe('live');
    kernel.push(delta(2));
    expect(model.problem).toBeNull();
  });

  it('keeps the time of the kernel, whose clock may be another', async () => {
    await live();
    const late = new Date(Date.now() - 3_600_000).toISOString();
    model.attach(null);
    const other = new FakeKernel('k2');
    model.attach(other.port);
    other.push(snapshot(), { date: late });
    expect(model.now()).toBeCloseTo(Date.now() / 1000 - 3600, 0);
  });
});

describe('acknowledging', () => {
  it('acknowledges what was drawn, at most twice a second', async () => {
    await live();
    const acks: number[] = [];
    for (let seq = 2; seq <= 42; seq++) {
      kernel.push(delta(seq));
      model.drawn();
      await pass(50);
      acks.push(...kernel.said().map(message => (message.type === 'ack' ? message.seq : -1)));
    }
    expect(acks.length).toBeGreaterThanOrEqual(4);
    expect(acks.length).toBeLessThanOrEqual(6);
    await pass(1000);
    expect(kernel.said()).toEqual([{ type: 'ack', client: 'me', epoch: 'e1', seq: 42 }]);
  });

  it('acknowledges nothing that was not drawn, and nothing twice', async () => {
    await live();
    kernel.push(delta(2));
    await pass(5000);
    expect(kernel.types()).toEqual([]);
    model.drawn();
    await pass(1000);
    model.drawn();
    await pass(1000);
    expect(kernel.types()).toEqual(['ack']);
  });

  it('sends a wish to cancel', async () => {
    await live();
    model.cancel('t1', true);
    expect(kernel.said()).toEqual([{ type: 'cancel', client: 'me', task: 't1', force: true }]);
  });
});

describe('mishaps', () => {
  it.each(['restarting', 'autorestarting'] as const)('starts afresh on %s', async status => {
    await live();
    kernel.loaded = false;
    kernel.become(status);
    expect(model.state).toBeNull();
    await pass(2000);
    expect(model.link).toBe('absent');
    // Left over from the old process, however late: nobody is greeted for it.
    kernel.push(delta(2));
    kernel.push(snapshot(3));
    await pass(1000);
    expect(model.state).toBeNull();
    expect(kernel.types()).toEqual([]);
    kernel.push(snapshot(1, {}, 'e2'));
    expect(model.link).toBe('live');
    await pass(2000);
    kernel.push(snapshot(2, {}, 'e2'));
  });

  it.each([
    ['restarting', 'restarted'],
    ['autorestarting', 'died'],
    ['dead', 'ended']
  ] as const)('tells what became of the work when the kernel is %s', async (status, lost) => {
    await live();
    kernel.become(status);
    expect(model.lost).toBeNull(); // there was none
    model.attach(null);
    kernel = new FakeKernel();
    model.attach(kernel.port);
    await pass();
    kernel.push(snapshot(1, { groups: [group('g')] }, 'e3'));
    kernel.become(status);
    expect(model.lost).toBe(lost);
    kernel.push(snapshot(1, {}, 'e2'));
    expect(model.lost).toBeNull();
    model.attach(null);
  });

  it('shows a dead kernel as absent', async () => {
    await live();
    kernel.become('dead');
    expect(model.link).toBe('absent');
    expect(model.state).toBeNull();
  });

  it('keeps the picture while the connection is lost, and asks for news when it is back', async () => {
    await live();
    await pass(5000);
    kernel.connection('connecting');
    expect(model.link).toBe('offline');
    expect(model.state).not.toBeNull();
    model.drawn();
    await pass(5000);
    expect(kernel.types()).toEqual([]);
    kernel.connection('connected');
    expect(kernel.types()).toEqual(['hello']);
    kernel.push(snapshot(30));
    expect(model.link).toBe('live');
  });

  it('never gives a promise to the kernel connection', () => {
    // A promise from a handler stalls all messages of the kernel; Lumino passes on what a slot returns to nobody, so
    // the slots themselves are looked at.
    const prototype = RayModel.prototype as unknown as Record<string, { constructor: unknown }>;
    for (const name of ['_onMessage', '_onStatus', '_onConnection']) {
      expect(prototype[name]?.constructor).toBe(Function);
    }
  });
});
