"""The build: environment, steps, serving, tests. `build.py` is the only entry; nothing here ships."""
