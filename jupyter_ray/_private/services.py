"""``ray._private.services``: what libraries take from there."""

from __future__ import annotations

from jupyter_ray.util import get_node_ip_address as get_node_ip_address
