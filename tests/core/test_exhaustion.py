"""What runs out is told in a sentence, whichever library says it."""

import errno

import duckdb
import polars as pl
import pytest

from metering.core.errors import MeteringError, StoreBusyError
from metering.core.exhaustion import HANDLE_HINT, MEMORY_HINT, in_a_sentence

MEMORY = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("can't start new thread"),
    duckdb.OutOfMemoryException("Out of Memory Error: Allocation failure"),
]
HANDLES = [
    OSError(errno.EMFILE, "Too many open files", "var/lock"),
    OSError(errno.ENFILE, "Too many open files in system"),
    ImportError("libx.so: cannot open shared object file: Too many open files"),
    duckdb.IOException('IO Error: Cannot open file "metering.duckdb": Too many open files'),
]


def raised(error: BaseException) -> MeteringError:
    with pytest.raises(MeteringError) as found, in_a_sentence():
        raise error
    return found.value


@pytest.mark.parametrize("error", MEMORY, ids=repr)
def test_memory_and_threads_that_ran_out_are_told_with_what_to_do(error: Exception) -> None:
    assert raised(error).hint == MEMORY_HINT


@pytest.mark.parametrize("error", HANDLES, ids=repr)
def test_file_handles_that_ran_out_are_told_with_what_to_do(error: Exception) -> None:
    found = raised(error)
    assert found.hint == HANDLE_HINT
    assert "oo many" in str(found)


def test_a_panic_of_polars_is_told_though_it_is_no_exception() -> None:
    panic = pl.exceptions.PanicException("index out of bounds\nwith more")
    assert not isinstance(panic, Exception)
    assert str(raised(panic)) == "a computation broke off: index out of bounds"


@pytest.mark.parametrize(
    "error", [KeyError("plan"), KeyboardInterrupt(), StoreBusyError("held", process_id=7)], ids=repr
)
def test_every_other_error_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)), in_a_sentence():
        raise error
