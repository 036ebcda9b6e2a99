"""The local model cache and everything done with whole models: finding, accepting, pulling, verifying, publishing.

It reaches files, network, clock and keys only through what the caller passes in; runs in CPython under the CLI.
"""
