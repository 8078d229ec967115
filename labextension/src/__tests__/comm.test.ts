import { describe, expect, it } from 'vitest';

import { RayComm } from '../comm';
import { FakeKernel } from './fakes';
import { snapshot } from './make';

describe('RayComm', () => {
  it('hears its own comm only', () => {
    const kernel = new FakeKernel();
    const comm = new RayComm(kernel.port);
    const heard: unknown[] = [];
    comm.received.connect((_, { data }) => {
      heard.push(data);
    });
    const mine = snapshot();
    kernel.push(snapshot(), { comm_id: 'widget' });
    kernel.push(snapshot(), { msg_type: 'comm_close' });
    kernel.push(mine);
    expect(heard).toEqual([mine]);
    comm.dispose();
    kernel.push(mine);
    expect(heard).toHaveLength(1);
  });

  it('sends on the control channel, which a busy kernel serves too', () => {
    const kernel = new FakeKernel();
    const comm = new RayComm(kernel.port);
    expect(comm.send({ type: 'hello', client: 'c' })).toBe(true);
    expect(kernel.sent[0]).toMatchObject({
      channel: 'control',
      header: { msg_type: 'comm_msg', session: 'client' },
      content: { comm_id: 'jupyter_ray', data: { type: 'hello', client: 'c' } }
    });
  });

  it.each([true, false])('sees whether the extension is loaded (%s)', async loaded => {
    const comm = new RayComm(new FakeKernel('k', loaded).port);
    expect(await comm.probe()).toBe(loaded);
  });

  it('sends nothing to a kernel that is gone', async () => {
    const dead = new FakeKernel();
    dead.status = 'dead';
    const comm = new RayComm(dead.port);
    expect(comm.send({ type: 'hello', client: 'c' })).toBe(false);
    expect(await comm.probe()).toBeNull();
    const disposed = new FakeKernel();
    disposed.isDisposed = true;
    expect(new RayComm(disposed.port).send({ type: 'bye', client: 'c' })).toBe(false);
  });

  it('does not fail when the connection breaks while it sends', () => {
    const kernel = new FakeKernel();
    kernel.sendControlMessage = () => {
      throw new Error('Canceled');
    };
    expect(new RayComm(kernel.port).send({ type: 'hello', client: 'c' })).toBe(false);
  });
});
