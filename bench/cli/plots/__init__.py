"""The kinds of pictures that `chipbench plot` draws, a command each."""
