"""The runtime process: the scheduler with its sockets, its clock and its worker processes."""
