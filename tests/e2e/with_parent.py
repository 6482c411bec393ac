"""Runs a program that ends when the process that started this one does: PROGRAM ARGUMENTS..."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent():
    """Asks the kernel for SIGKILL at the parent's death; it survives an exec."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    os.execv(sys.argv[1], sys.argv[1:])
