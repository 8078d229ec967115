#!/usr/bin/env bash
# Make the virtual environment that everything else runs in.
#
#   tools/venv.sh FOLDER [PYTHON]
#
# PYTHON, or the newest of python3, python3.14 ... python3.10 that is new enough, makes it. An environment that is
# there already is kept as it is.
set -euo pipefail

folder=$1
wanted=${2:-}

say() { printf 'jupyter_ray: %s\n' "$*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

python=
for candidate in ${wanted:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.10 or newer is needed, and ${wanted:-python3} is not that. Install it, or say: make PYTHON=/path/to/python"
    exit 1
fi

say "creating $folder with $("$python" --version)"
# Debian's python3 comes without the part that puts pip into an environment.
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy "python$version-venv" </dev/null
    else
        say "this Python has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv"
        exit 1
    fi
fi
"$python" -m venv "$folder"
