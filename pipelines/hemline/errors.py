"""The one error that the pipelines raise on purpose."""


class DataError(Exception):
    """Input that cannot be used; the message is one line: which file, row and column, and what was expected.

    `hemline.cli.main` prints it on stderr and exits with 65 (EX_DATAERR), before anything was written.
    """
