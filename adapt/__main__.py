"""`python -m adapt`."""

from adapt.cli import main

if __name__ == "__main__":
    main(prog_name="adapt")
