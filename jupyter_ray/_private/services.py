"""``ray._private.services``: what libraries and tests take from there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jupyter_ray._common.network_utils import get_localhost_ip as get_localhost_ip
from jupyter_ray.util import get_node_instance_id as get_node_instance_id
from jupyter_ray.util import get_node_ip_address as get_node_ip_address

_found = importlib.util.find_spec(__name__.partition(".")[0])
RAY_PATH = str(Path(_found.origin).parent) if _found is not None and _found.origin else ""
"""The folder of this package."""
