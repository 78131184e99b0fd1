"""A secret named by a later layer takes the place of its twin below: `api_key_file` that of `api_key_env`."""

from pathlib import Path

import pytest

from metering.config import read
from metering.config.starter import write_starter
from metering.core.errors import ConfigError

TWINS = {
    "[[organizations]]\nid = 'org-a'\napi_key": "METERING_ORGANIZATIONS__0__API_KEY",
    "[dashboard]\ntoken": "METERING_DASHBOARD__TOKEN",
    "[dashboard]\nlink_secret": "METERING_DASHBOARD__LINK_SECRET",
    "[stripe]\nsecret": "METERING_STRIPE__SECRET",
    "[[webhooks]]\nurl = 'https://a.example'\nsecret": "METERING_WEBHOOKS__0__SECRET",
    "[[channels]]\nname = 'ops'\nkind = 'slack'\nsecret": "METERING_CHANNELS__0__SECRET",
}


def written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("begin", TWINS)
@pytest.mark.parametrize(("below", "above"), [("env", "file"), ("file", "env")])
def test_the_environment_replaces_the_twin_of_the_file(tmp_path, begin, below, above):
    path = written(tmp_path, f'{begin}_{below} = "OLD"\n')
    name = f"{TWINS[begin]}_{above.upper()}"
    found = read(path, environ={name: "NEW"})
    section = begin.split("]")[0].strip("[")
    (entry,) = getattr(found, section) if begin.startswith("[[") else (getattr(found, section),)
    stem = begin.rpartition("\n")[2]
    assert getattr(entry, f"{stem}_{below}") is None
    assert str(getattr(entry, f"{stem}_{above}")).endswith("NEW")
    place = f"{section}[0]" if begin.startswith("[[") else section
    assert found.origins[f"{place}.{stem}_{above}"] == f"environment {name}"
    assert found.origins[f"{place}.{stem}_{below}"] == "default"


def test_a_proxy_of_one_layer_replaces_the_variable_of_the_other(tmp_path):
    path = written(tmp_path, '[network]\nproxy_env = "OLD"\n')
    assert read(path, environ={"METERING_NETWORK__PROXY": "http://proxy:1"}).network.proxy_env is None
    path = written(tmp_path, '[network]\nproxy = "http://proxy:1"\n')
    assert read(path, environ={"METERING_NETWORK__PROXY_ENV": "NEW"}).network.proxy is None


def test_the_command_line_replaces_the_twin_of_the_environment(tmp_path):
    path = written(tmp_path, "[[organizations]]\nid = 'org-a'\n")
    environ = {"METERING_ORGANIZATIONS__0__API_KEY_ENV": "OLD"}
    (found,) = read(path, environ=environ, overrides={"organizations.0.api_key_file": "NEW"}).organizations
    assert (found.api_key_env, found.api_key_file) == (None, tmp_path / "NEW")


@pytest.mark.parametrize("where", ["file", "environment"])
def test_twins_of_one_layer_are_a_fault_still(tmp_path, where):
    own = "api_key_env = 'A'\napi_key_file = 'b'\n" if where == "file" else ""
    names = {f"METERING_ORGANIZATIONS__0__API_KEY_{kind}": "x" for kind in ("ENV", "FILE")}
    with pytest.raises(ConfigError, match="api_key_env: and api_key_file are both given"):
        read(
            written(tmp_path, f"[[organizations]]\nid = 'org-a'\n{own}"),
            environ=names if where == "environment" else {},
        )


def test_the_file_of_init_runs_with_secrets_of_the_environment_alone(tmp_path):
    write_starter(tmp_path / "new")
    environ = {
        "METERING_ORGANIZATIONS__0__ID": "org-real-12345678",
        "METERING_ORGANIZATIONS__0__API_KEY_FILE": "/run/secrets/neon",
        "METERING_DASHBOARD__TOKEN_ENV": "OUR_TOKEN",
        "METERING_STRIPE__SECRET_FILE": "/run/secrets/stripe",
    }
    found = read(tmp_path / "new" / "config.toml", environ=environ)
    assert (found.organizations[0].api_key_env, found.organizations[0].api_key_file) == (
        None,
        Path("/run/secrets/neon"),
    )
    assert (found.dashboard.token_env, found.dashboard.token_file) == ("OUR_TOKEN", None)
    assert found.stripe.secret_file == Path("/run/secrets/stripe")
