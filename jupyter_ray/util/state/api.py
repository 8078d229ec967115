"""Ray's ``ray.util.state.api``: the functions of `jupyter_ray.util.state`, under the name that programs import."""

from jupyter_ray.util.state import *  # noqa: F403
from jupyter_ray.util.state import __all__ as __all__
