"""References of kernels of training: not there yet. Runs anywhere with NumPy."""


def cases(rng):
    """None yet."""
    return iter(())
