"""Ray's ``ray.experimental.state``: where the state API was before it became `jupyter_ray.util.state`."""
