import { describe, expect, it } from 'vitest';

import { KernelTracker } from '../kernelTracker';
import { FakeKernel, fakeNotebook, FakeNotebooks, FakeShell } from './fakes';

function track(
  notebooks: FakeNotebooks,
  shell: FakeShell | null = null
): {
  tracker: KernelTracker;
  seen: (string | null)[];
} {
  const tracker = new KernelTracker(notebooks, shell);
  const seen: (string | null)[] = [tracker.kernel?.id ?? null];
  tracker.kernelChanged.connect((_, kernel) => {
    seen.push(kernel?.id ?? null);
  });
  return { tracker, seen };
}

describe('KernelTracker', () => {
  it('starts with the notebook that is there', () => {
    const notebooks = new FakeNotebooks();
    notebooks.show(fakeNotebook(new FakeKernel('k1')));
    expect(track(notebooks).seen).toEqual(['k1']);
  });

  it('waits for the session after a page reload', () => {
    const notebooks = new FakeNotebooks();
    const notebook = fakeNotebook();
    notebooks.show(notebook);
    const { seen } = track(notebooks);
    notebook.sessionContext.use(new FakeKernel('k1'));
    expect(seen).toEqual([null, 'k1']);
  });

  it('follows a switch between notebooks, and forgets the session it left', () => {
    const notebooks = new FakeNotebooks();
    const one = fakeNotebook(new FakeKernel('k1'));
    const two = fakeNotebook(new FakeKernel('k2'));
    notebooks.show(one);
    const { seen } = track(notebooks);
    notebooks.show(two);
    one.sessionContext.use(new FakeKernel('k9'));
    notebooks.show(one);
    notebooks.show(null);
    expect(seen).toEqual(['k1', 'k2', 'k9', null]);
  });

  it('follows a change of kernel, and its end', () => {
    const notebooks = new FakeNotebooks();
    const notebook = fakeNotebook(new FakeKernel('k1'));
    notebooks.show(notebook);
    const { seen } = track(notebooks);
    notebook.sessionContext.use(new FakeKernel('k2'));
    notebook.sessionContext.use(null);
    notebook.sessionContext.session = null;
    notebook.sessionContext.kernelChanged.emit(undefined);
    expect(seen).toEqual(['k1', 'k2', null]);
  });

  it('says nothing when the kernel stays the same', () => {
    const notebooks = new FakeNotebooks();
    const kernel = new FakeKernel('k1');
    notebooks.show(fakeNotebook(kernel));
    const { seen } = track(notebooks);
    notebooks.show(fakeNotebook(kernel));
    expect(seen).toEqual(['k1']);
  });

  it('prefers the notebook in front, and keeps the last one behind other documents', () => {
    const notebooks = new FakeNotebooks();
    const shell = new FakeShell();
    const one = fakeNotebook(new FakeKernel('k1'));
    const two = fakeNotebook(new FakeKernel('k2'));
    notebooks.show(one);
    notebooks.show(two);
    const { seen } = track(notebooks, shell);
    shell.show(one);
    shell.show({ isDisposed: false } as never);
    expect(seen).toEqual(['k2', 'k1', 'k2']);
  });

  it('passes over a notebook that was closed', () => {
    const notebooks = new FakeNotebooks();
    const notebook = fakeNotebook(new FakeKernel('k1'));
    notebooks.show(notebook);
    const { tracker, seen } = track(notebooks);
    notebook.isDisposed = true;
    notebooks.currentChanged.emit(notebook);
    expect(seen).toEqual(['k1', null]);
    tracker.dispose();
    notebooks.show(fakeNotebook(new FakeKernel('k2')));
    expect(seen).toEqual(['k1', null]);
  });
});
