"""`python -m metering` is the command `metering`."""

from metering.cli import main

if __name__ == "__main__":
    main()
