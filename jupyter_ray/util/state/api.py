"""Ray's ``ray.util.state.api``: the functions of `jupyter_ray.util.state`, under the name that programs import."""

from jupyter_ray.util.state import *  # noqa: F403
from jupyter_ray.util.state import __all__ as __all__
from jupyter_ray.util.state.client import GetApiOptions as GetApiOptions
from jupyter_ray.util.state.client import ListApiOptions as ListApiOptions
from jupyter_ray.util.state.client import StateResource as StateResource
from jupyter_ray.util.state.client import SummaryApiOptions as SummaryApiOptions
from jupyter_ray.util.state.client import SummaryResource as SummaryResource
from jupyter_ray.util.state.exception import RayStateApiException as RayStateApiException
from jupyter_ray.util.state.exception import ServerUnavailable as ServerUnavailable
from jupyter_ray.util.state.signatures import DEFAULT_LIMIT as DEFAULT_LIMIT
from jupyter_ray.util.state.signatures import DEFAULT_RPC_TIMEOUT as DEFAULT_RPC_TIMEOUT
