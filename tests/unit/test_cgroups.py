"""What control groups allow, told by trees that the tests make up."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_ray.local import cgroups
from jupyter_ray.local.engine import machine

GIB = 1024**3
UNLIMITED = 9223372036854771712


class Tree:
    """A folder of `/proc/self`, and one of mounted trees."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own, self.mounts = folder / "self", folder / "a tree"
        self.own.mkdir()
        monkeypatch.setattr(cgroups, "_OWN", self.own)

    def mount(self, *mounts: tuple[str, str, str, str]) -> None:
        """Tell of mounts: kind, options, root and name of each."""
        lines = ["22 27 0:21 / /proc rw,relatime - proc proc rw"]
        for kind, options, root, name in mounts:
            point = str(self.mounts / name).replace(" ", r"\040")
            lines.append(f"32 31 0:29 {root} {point} rw,relatime shared:9 - {kind} {kind} rw,{options}")
        (self.own / "mountinfo").write_text("\n".join(lines) + "\n")

    def join(self, *groups: str) -> None:
        """Tell of the groups that the process is in."""
        (self.own / "cgroup").write_text("\n".join(groups) + "\n")

    def write(self, group: str, **files: object) -> Path:
        """Write files of a group; `_` stands for the first dot."""
        folder = self.mounts / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")
        return folder


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_a_unified_tree_and_the_groups_above(tree: Tree) -> None:
    tree.mount(("cgroup2", "nsdelegate", "/", "unified"))
    tree.join("0::/user.slice/hub.service")
    tree.write("unified", cgroup_procs="")
    tree.write("unified/user.slice", cpu_max="150000 100000", memory_max=4 * GIB)
    own = tree.write("unified/user.slice/hub.service", cpu_max="max 100000", memory_max="max")
    assert cgroups.cpus() == 1.5
    assert cgroups.memory() == (4 * GIB, own.parent)
    tree.write("unified/user.slice/hub.service", cpu_max="50000 100000", memory_max=GIB)
    assert cgroups.cpus() == 0.5
    assert cgroups.memory() == (GIB, own)
    assert machine.cpus() == 1
    assert machine.memory() == GIB


def test_older_trees_have_one_for_each_controller(tree: Tree) -> None:
    tree.mount(
        ("cgroup", "cpu,cpuacct", "/", "cpu"), ("cgroup", "memory", "/", "memory"), ("cgroup2", "", "/", "unified")
    )
    tree.join("4:memory:/pods/one", "2:cpu,cpuacct:/pods", "0::/")
    tree.write("cpu", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100000)
    tree.write("cpu/pods", cpu_cfs_quota_us=250000, cpu_cfs_period_us=100000)
    tree.write("memory", memory_limit_in_bytes=UNLIMITED)
    own = tree.write("memory/pods/one", memory_limit_in_bytes=2 * GIB)
    assert cgroups.cpus() == 2.5
    assert cgroups.memory() == (2 * GIB, own)


@pytest.mark.parametrize("root", ["/docker/ab", "/docker"])
def test_a_container_is_shown_its_own_branch(tree: Tree, root: str) -> None:
    tree.mount(("cgroup", "memory", root, "memory"))
    tree.join("4:memory:/docker/ab")
    own = tree.write("memory" + "/docker/ab"[len(root) :], memory_limit_in_bytes=GIB)
    assert cgroups.memory() == (GIB, own)


def test_no_limit(tree: Tree) -> None:
    assert (cgroups.cpus(), cgroups.memory()) == (None, None), "no such system"
    tree.mount(("cgroup2", "", "/", "unified"))
    tree.join("0::/")
    assert (cgroups.cpus(), cgroups.memory()) == (None, None)
    tree.write("unified", cpu_max="max 100000", memory_max="max")
    assert (cgroups.cpus(), cgroups.memory()) == (None, None)


def test_copies_of_files_are_not_memory_in_use(tree: Tree) -> None:
    group = tree.write("unified", memory_current=1000)
    assert cgroups.used(group) == 1000
    tree.write("unified", memory_stat="anon 200\nfile 800\nshmem 100\ninactive_file 500\nactive_file 200")
    assert cgroups.used(group) == 300
    group = tree.write(
        "memory", memory_usage_in_bytes=1000, memory_stat="inactive_file 1\ntotal_inactive_file 300\ntotal_rss 500"
    )
    assert cgroups.used(group) == 700
