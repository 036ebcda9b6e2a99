"""`edge-net-models`: find, pull, verify, sign and publish models, and embed or search texts with them. CPython only.

Results go to stdout, everything else to stderr; heavy packages are imported by the command that needs them.
"""


def main() -> None:
    """Entry point of the console script."""
    from .app import app

    app(prog_name="edge-net-models")
