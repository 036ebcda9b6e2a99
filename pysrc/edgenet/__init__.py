"""EdgeNet: signed models that run, learn and stay in the browser. One pure-Python package for CPython and Pyodide."""

__version__ = "0.1.0"
