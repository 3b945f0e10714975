"""The one exception for what a user can mend."""


class InputError(ValueError):
    """A file, key or argument is wrong; the message is one line that names it and says what to do.

    Command lines print the message without a traceback and exit with status 1.
    """
