"""Trains the small Python code-completion model that EdgeNet ships, from Pyodide's standard library. CPU torch, resumable.

python -m tools.codemodel.train --folder FOLDER      (again: goes on from the last checkpoint)
python -m tools.codemodel.evaluate --folder FOLDER                bits per byte beside gzip, xz and an order-5 model
"""
