"""A process's side of the connection to the runtime.

`references` counts what this process holds, `requests` waits for answers, `streams` follows streaming tasks,
`threads` are the two helpers, and `client` puts them on a channel.
"""
