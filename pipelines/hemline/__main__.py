"""`python -m hemline` is the same as the `hemline` command."""

from hemline.cli import main

if __name__ == "__main__":
    main()
