"""The witness file, also after a writer died while writing it."""

from pathlib import Path

from metering.store import witness as door

LONGER = door.Testimony(
    epoch="", seq=7, hash="ab", numbers={"invoice 2026": 2}, intent=door.Intent(seq=8, place="host:1:2")
)
SHORTER = door.Testimony(epoch="", seq=8, hash="cd", numbers={"invoice 2026": 3})


def test_a_writer_that_died_before_it_cut_the_file_leaves_what_it_wrote(tmp_path: Path):
    path = tmp_path / "witness"
    with door.held(path) as witness:
        witness.write(LONGER)
        before = path.read_bytes()
        witness.write(SHORTER)
    after = path.read_bytes()
    path.write_bytes(after + before[len(after) :])
    with door.held(path) as witness:
        assert witness.says() == SHORTER
        witness.write(LONGER)
        assert witness.says() == LONGER


def test_a_witness_to_which_nothing_was_written_says_nothing(tmp_path: Path):
    with door.held(tmp_path / "witness") as witness:
        assert witness.says() is None
