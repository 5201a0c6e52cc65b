"""`python -m lanewise.cli` is the command `lanewise`."""
from . import main

if __name__ == "__main__":
    main()
