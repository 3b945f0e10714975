"""The one exception for what a user can mend, and how too little memory is told apart."""

import errno

# what libraries say that have no error of their own for it; cuDNN and its engines also call
# impossible what has no room
MEMORY_SIGNS = (
    *("out of memory", "allocate memory", "not enough memory", "insufficient memory", "bad_alloc"),
    *("failed to allocate", "status_alloc_failed", "cudnn_status_not_supported"),
    *("unable to find an engine", "unable to find a valid cudnn algorithm"),
)


class InputError(ValueError):
    """A file, key or argument is wrong; the message is one line that names it and says what to do.

    Command lines print the message without a traceback and exit with status 1.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had: CUDA's, cuDNN's, the CPU allocator's,
    numpy's, OpenCV's, the system's.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch and OpenCV are not imported for their names
    kind = type(error)
    if isinstance(error, MemoryError) or kind.__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    known = isinstance(error, RuntimeError) or kind.__module__.startswith("cv2")
    return known and any(sign in text for sign in MEMORY_SIGNS)
