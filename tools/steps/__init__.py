"""Build steps, one module each; their order is the table in `tools.build`."""
