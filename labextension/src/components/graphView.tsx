/** The graph inside React: it hands each state to the renderer, and the renderer's events up. */

import * as React from 'react';

import { NOMINAL_WIDTH } from '../layout';
import type { RayState } from '../reducer';
import { SvgRenderer } from '../renderer/svg';
import { SceneBuilder, type SceneOptions } from '../renderer/scene';
import type { View } from '../renderer/base';
import { ticks } from '../renderer/marks';
import { full } from '../format';
import { stateName, useNow, useTrans } from './common';

export interface GraphViewProps extends Omit<SceneOptions, 'width'> {
  readonly state: RayState;
  readonly selected: string | null;
  readonly zoom: View['zoom'];
  onTask(id: string): void;
  onGroup(id: string): void;
  onScale(scale: number): void;
}

export function GraphView(props: GraphViewProps): React.ReactElement {
  const trans = useTrans();
  const { state, grouping, opened, clearedAt, selected, zoom } = props;
  const host = React.useRef<HTMLDivElement>(null);
  const renderer = React.useRef<SvgRenderer | null>(null);
  const latest = React.useRef(props);
  latest.current = props;
  const [width, setWidth] = React.useState(NOMINAL_WIDTH);
  const [builder] = React.useState(() => new SceneBuilder());
  const scene = React.useMemo(
    () => builder.build(state, { grouping, opened, clearedAt, width }),
    // The tables, not the state: a message about resources alone redraws no graph.
    [builder, state.epoch, state.tasks, state.groups, grouping, opened, clearedAt, width]
  );
  const now = useNow(scene.nodes.some(node => node.kind === 'task' && ticks(node.task)));

  // Before the browser paints, so that the first picture has the right width.
  React.useLayoutEffect(() => {
    const made = new SvgRenderer(
      {
        onTask: id => {
          latest.current.onTask(id);
        },
        onGroup: id => {
          latest.current.onGroup(id);
          made.reveal(`lanes ${id}`);
        },
        onDrawn: scale => {
          latest.current.onScale(scale);
        },
        onWidth: setWidth
      },
      {
        state: name => stateName(trans, name),
        graph: trans.__('Graph of tasks'),
        attempt: number => trans.__('attempt %1', number),
        folded: count =>
          trans._n('%2 ended, only counted', '%2 ended, only counted', count, full(count)),
        openGroup: trans.__('Click to show its tasks'),
        closeGroup: trans.__('Click to hide its tasks')
      }
    );
    renderer.current = made;
    host.current?.append(made.node);
    if (made.node.clientWidth > 0) {
      setWidth(made.node.clientWidth);
    }
    return () => {
      made.dispose();
    };
  }, [trans]);

  // Where the selected task becomes a part of a group's node, that is opened: what was chosen is still to be seen.
  const before = React.useRef(scene);
  React.useEffect(() => {
    const task = selected === null ? undefined : state.tasks.get(selected);
    const group = task && scene.nodes.find(node => node.key === `group ${task.group}`);
    const single = `task ${selected ?? ''}`;
    if (
      group?.kind === 'group' &&
      !group.open &&
      before.current.nodes.some(node => node.key === single)
    ) {
      const wasInSight = renderer.current?.isInSight(single) ?? false;
      latest.current.onGroup(group.group.id);
      if (wasInSight) {
        renderer.current?.reveal(`lanes ${group.group.id}`);
      }
    }
    before.current = scene;
  }, [scene]);

  React.useEffect(() => {
    const selectedGroup = (selected === null ? null : state.tasks.get(selected)?.group) ?? null;
    renderer.current?.show(scene, { selected, selectedGroup, zoom, now });
  });

  return <div className="jr-GraphView" ref={host} />;
}
