"""What a backup keeps of the configuration: each file that it names, and never a secret."""

from metering.config import read

TOML = """
[backup]
directory = "{outside}"
[store]
witness = "witness"
[network]
ca_file = "authorities.pem"
[[organizations]]
id = "org-a"
api_key_file = "neon-key"
[[webhooks]]
url = "https://a.example/"
secret_file = "hook-secret"
[[channels]]
name = "ops"
kind = "slack"
secret_file = "slack-url"
[dashboard]
token_file = "token"
link_secret_file = "link-secret"
[stripe]
secret_file = "stripe-key"
[customers]
file = "customers.csv"
subscriptions = "{outside}/subscriptions.csv"
[invoices]
fonts = "fonts"
"""
SECRETS = ("neon-key", "hook-secret", "slack-url", "token", "link-secret", "stripe-key")


def written(tmp_path):
    here, outside = tmp_path / "here", tmp_path / "outside"
    for directory in (here / "fonts", outside):
        directory.mkdir(parents=True)
    for name in (*SECRETS, "authorities.pem", "witness", "fonts/acme.ttf", "fonts/neon-key"):
        (here / name).write_text("x")
    (here / "customers.csv").write_text("customer\n")
    (outside / "subscriptions.csv").write_text("project_id,customer,plan,valid_from,valid_to\n")
    (here / "config.toml").write_text(TOML.format(outside=outside))
    return read(here / "config.toml", environ={}), here, outside


def test_all_that_the_configuration_names_is_kept_but_secrets_and_where_things_are_written(tmp_path):
    config, here, outside = written(tmp_path)
    assert config.kept_files == {
        "config.toml": here / "config.toml",
        "authorities.pem": here / "authorities.pem",
        "customers.csv": here / "customers.csv",
        str(outside / "subscriptions.csv"): outside / "subscriptions.csv",
        "fonts/acme.ttf": here / "fonts" / "acme.ttf",
    }


def test_a_secret_that_is_named_as_something_else_too_is_a_secret(tmp_path):
    config, here, _ = written(tmp_path)
    text = (here / "config.toml").read_text().replace('"authorities.pem"', '"../here/neon-key"')
    (here / "config.toml").write_text(text)
    again = read(here / "config.toml", environ={})
    assert again.network.ca_file == here / "../here/neon-key"
    assert not any(path.resolve() == here / "neon-key" for path in again.kept_files.values())
    assert next(iter(config.kept_files)) == "config.toml"
