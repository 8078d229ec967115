"""Programs that tests run as drivers of their own. Where this package stands for Ray, it does so in them, too."""

from __future__ import annotations

import subprocess
import sys

from jupyter_ray.alias import stands_for_ray

TIMEOUT = 300.0
"""Seconds that a program has, if its test does not say."""

_AS_RAY = "import sys, jupyter_ray; sys.modules['ray'] = jupyter_ray; del sys, jupyter_ray; "
_RUN = "import sys; _program = sys.stdin.read(); sys.stdin.close(); del sys; exec(_program)"


def run(script: str, env: dict[str, str] | None, encode: str, timeout: float | None, stderr: int) -> tuple[str, str]:
    """Run a program; return what it printed, to stdout and to stderr unless that goes to stdout.

    Raises
    ------
    subprocess.CalledProcessError
        It failed; `output` has what it printed, as bytes.
    subprocess.TimeoutExpired
        It took too long, and was killed.
    """
    with start(script, env, encode, stderr) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        print(b"".join(filter(None, (out, err))).decode(encode, "replace"), file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, process.args, out, err)
    return out.decode(encode), (err or b"").decode(encode)


def start(script: str, env: dict[str, str] | None, encode: str, stderr: int) -> subprocess.Popen[bytes]:
    """Start a program, and wait for nothing. `env` is all of its environment; None: this one's."""
    process = subprocess.Popen(
        [sys.executable, "-c", (_AS_RAY if stands_for_ray() else "") + _RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env,
    )
    assert process.stdin is not None
    process.stdin.write(script.encode(encode))
    process.stdin.close()
    process.stdin = None  # `communicate` would close it once more
    return process
