"""The old name of `jupyter_ray.util.state.exception`. Source: Ray's ``ray.experimental.state.exception``."""

from jupyter_ray.deprecation import deprecated
from jupyter_ray.util.state.exception import *  # noqa: F403

deprecated("The state API is not experimental any more: import it from jupyter_ray.util.state.exception.")
