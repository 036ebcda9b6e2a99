"""`python -m edgenet.cli`: the same as `edge-net-models`."""

from . import main

main()
