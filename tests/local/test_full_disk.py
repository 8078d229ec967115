"""A file system that is full while values go to it: a real one, small, in a mount namespace of the program's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.contract.helpers import PATIENCE

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--map-root-user", "--mount"]


def _can_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    tried = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


PROGRAM = """
    import json, pathlib, sys
    import numpy as np
    import jupyter_ray as ray

    MIB = 2**20
    disk = pathlib.Path(sys.argv[1])


    def value(number):
        return np.full(20 * MIB, number, np.uint8)


    def last(references):
        return [int(each[-1]) for each in map(ray.get, references)]


    def on_disk():
        return [file.stat().st_size // MIB for folder in disk.iterdir() if folder.is_dir() for file in folder.iterdir()]


    (disk / "others").write_bytes(bytes(20 * MIB))
    ray.init(num_cpus=1, object_store_memory=70 * MIB, object_spilling_directory=str(disk), log_to_driver=False)
    make, kept, said = ray.remote(value), [], {}
    for way in ("put", "task"):
        try:
            while True:
                made = ray.put(value(len(kept))) if way == "put" else make.remote(len(kept))
                ray.wait([made])
                ray.get(made)
                kept.append(made)
        except ray.exceptions.OutOfDiskError as error:
            said[way] = str(error)
    told = {"said": said, "kept": last(kept), "on disk": on_disk()}
    (disk / "others").unlink()
    kept += [ray.put(value(len(kept)))]
    told["later"] = last(kept)
    ray.shutdown()
    print(json.dumps({**told, "left": [file.name for file in disk.iterdir()]}))
"""


@pytest.mark.skipif(not _can_mount(), reason="this user may not mount a file system here")
def test_a_full_file_system_is_said_and_loses_nothing(tmp_path: Path) -> None:
    program, disk = tmp_path / "program.py", tmp_path / "disk"
    program.write_text(textwrap.dedent(PROGRAM))
    disk.mkdir()
    ended = subprocess.run(
        [*UNSHARE, "sh", "-c", f"mount -t tmpfs -o size=56m none {disk} && exec {sys.executable} {program} {disk}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["kept"] == [0, 1, 2, 3], "three in memory, one on disk"
    for text in told["said"].values():
        assert "There is no room for 20,97" in text
        assert f"folder for values on disk at {disk}" in text
    assert set(told["said"]) == {"put", "task"}
    assert told["on disk"] == [20], "nothing half-written is left"
    assert told["later"] == [0, 1, 2, 3, 4], "with room again it goes on"
    assert told["left"] == []
