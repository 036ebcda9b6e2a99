"""Scripts that ask other people's programs what is right, and write their answers to `tests/vectors`. Each names the versions it asked."""
