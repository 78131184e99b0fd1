"""Secrets as Kubernetes and systemd provide them: symbolic links, group-readable files, read-only mounts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metering.core.errors import CredentialsError
from metering.core.secrets import secret

KEY = "napi_abc"


def written(path: Path, mode: int, text: str = KEY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def kubernetes(volume: Path, mode: int) -> Path:
    """A volume as the kubelet writes it: the key is a link into a directory that is a link itself."""
    written(volume / "..2026_11_29_10_00_00.1" / "key", mode)
    (volume / "..data").symlink_to("..2026_11_29_10_00_00.1")
    (volume / "key").symlink_to("..data/key")
    return volume / "key"


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_link_is_followed_to_a_file_of_ours(tmp_path: Path, mode: int) -> None:
    assert secret(None, kubernetes(tmp_path, mode), {}).reveal() == KEY


@pytest.mark.parametrize("mode", [0o440, 0o444, 0o640, 0o644, 0o604])
def test_behind_a_link_the_file_itself_is_judged(tmp_path: Path, mode: int) -> None:
    path = kubernetes(tmp_path, mode)
    with pytest.raises(CredentialsError) as caught:
        secret(None, path, {})
    assert str(caught.value) == f"{path} can be read by group or others"


def test_a_volume_that_is_exchanged_gives_the_new_key(tmp_path: Path) -> None:
    path = kubernetes(tmp_path, 0o400)
    written(tmp_path / "..2026_11_29_11_00_00.2" / "key", 0o400, "napi_new")
    (tmp_path / "..new").symlink_to("..2026_11_29_11_00_00.2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert secret(None, path, {}).reveal() == "napi_new"


def test_links_that_lead_nowhere_or_in_a_circle_hold_no_key(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(CredentialsError, match="nowhere does not exist"):
        secret(None, tmp_path / "nowhere", {})
    with pytest.raises(CredentialsError, match="circle cannot be read"):
        secret(None, tmp_path / "circle", {})


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o640])
@pytest.mark.parametrize("how", ["itself", "a link to it"])
def test_a_credential_of_the_unit_may_be_readable_by_its_group(tmp_path: Path, mode: int, how: str) -> None:
    path = written(tmp_path / "credentials" / "key", mode)
    if how == "a link to it":
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    assert secret(None, path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}).reveal() == KEY


@pytest.mark.parametrize(
    ("directory", "mode"),
    [("credentials", 0o444), ("credentials", 0o404), ("credentials", 0o460), ("credentials", 0o450)],
)
def test_a_credential_that_others_can_read_or_the_group_can_write_is_refused(
    tmp_path: Path, directory: str, mode: int
) -> None:
    path = written(tmp_path / directory / "key", mode)
    with pytest.raises(CredentialsError, match="can be read by group or others"):
        secret(None, path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})


@pytest.mark.parametrize("directory", ["credentials-of-others", "credentials/../beside"])
def test_what_only_looks_like_a_credential_is_none(tmp_path: Path, directory: str) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "out").symlink_to(tmp_path / "beside")
    path = written(tmp_path / directory / "key", 0o440)
    for place in (path, *([tmp_path / "credentials" / "out" / "key"] if "beside" in directory else [])):
        with pytest.raises(CredentialsError, match="can be read by group or others"):
            secret(None, place, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})


MOUNTED = """
import sys
from pathlib import Path
from metering.core.errors import CredentialsError
from metering.core.secrets import secret
for name in sys.argv[1:]:
    try:
        print(secret(None, Path(name), {}).reveal())
    except CredentialsError as error:
        print(error, "|", error.hint)
"""


def can_mount() -> bool:
    tools = all(shutil.which(name) for name in ("unshare", "mount"))
    asked = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return tools and subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_on_a_read_only_mount_the_group_may_read_and_others_may_not(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    script = (
        'mount -t tmpfs none "$0" && cd "$0" && for mode in 400 440 444; do '
        'echo napi_$mode > $mode; chmod $mode $mode; done && mount -o remount,ro "$0" && exec "$@"'
    )
    names = [str(volume / mode) for mode in ("400", "440", "444")]
    asked = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(volume)]
    asked += [sys.executable, "-c", MOUNTED, *names]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment)
    assert told.stdout.splitlines() == [
        "napi_400",
        "napi_440",
        f"{names[2]} can be read by group or others | mount {names[2]} with mode 0440 (Kubernetes: defaultMode)",
    ], told


def test_a_file_that_an_editor_saved_with_a_mark_and_a_line_end_holds_its_key(tmp_path: Path) -> None:
    assert secret(None, written(tmp_path / "key", 0o600, f"\ufeff{KEY}\r\n"), {}).reveal() == KEY
