"""What differs between CPython and the browser: `base.py` is the protocol, one module per host implements it."""
