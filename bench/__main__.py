"""`python -m bench` is `chipbench`, for where scripts are not on the path."""

from bench.cli.main import main

if __name__ == "__main__":
    main()
