"""Ray's ``ray.experimental.tqdm_ray``: progress bars of tasks and actors, shown by the driver.

``for x in tqdm_ray.tqdm(items, desc="reading"): ...`` in a task shows a bar in the cell that asked for the work, or
below a script's output.
"""

from __future__ import annotations

from jupyter_ray.api.bars import RAY_TQDM_MAGIC, tqdm
from jupyter_ray.api.progress import instance, safe_print

__all__ = ["RAY_TQDM_MAGIC", "instance", "safe_print", "tqdm"]
