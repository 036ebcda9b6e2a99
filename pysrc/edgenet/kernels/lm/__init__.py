"""Kernels of language models: `table` says how each takes its arguments, the other modules hold references and cases. Imports nothing:
compiling reads the table without NumPy.
"""
