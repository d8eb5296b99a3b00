"""Layers that are over several storages, in profiles and in code: how the others are named, opened, closed and told of."""

from __future__ import annotations

import json
import uuid

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.layers.mirror import MirrorLayer
from mediagit_storage.opening import LiteralSecretWarning, open_storage
from mediagit_storage.types import ConnectionInfo


@pytest.fixture
def profiles(tmp_path):
    """Write profiles, and the environment that leads to them."""

    def write(text, **environ):
        path = tmp_path / "profiles.toml"
        path.write_text(text)
        return {"MGS_CONFIG": str(path), **environ}

    return write


def fresh():
    return f"memory://{uuid.uuid4().hex}"


def mirrored(name, url, replicas, more=""):
    return f'[{name}]\nurl = "{url}"\n[[{name}.layers]]\nlayer = "mirror"\nreplicas = {json.dumps(replicas)}\n{more}\n'


def shown(store):
    return [each.description for each in store.backend.replicas]


def test_others_are_profiles_urls_and_paths(profiles, tmp_path):
    first, second = fresh(), fresh()
    text = mirrored("photos", first, ["backup:sub", second, f"{tmp_path}"]) + f'[backup]\nurl = "{first}2/a"\n'
    with open_storage("photos:", environ=profiles(text)) as store:
        assert isinstance(store.backend, MirrorLayer)
        assert shown(store) == [f"{first}2/a/sub/", second, f"file://{tmp_path}"]
        store.put("k", b"1")
    assert (tmp_path / "k").read_bytes() == b"1"
    with open_storage("backup:", environ=profiles(text)) as backup:
        assert backup.get("sub/k") == b"1"


def test_one_may_be_named_without_a_list():
    with open_storage(fresh(), layers=[{"layer": "mirror", "replicas": fresh()}]) as store:
        assert len(store.backend.replicas) == 1


def test_connection_info_names_all_of_them_and_leads_back(profiles, tmp_path):
    first, second = fresh(), fresh()
    (tmp_path / "c").mkdir()
    text = mirrored("photos", first, ["backup:"], "require = 0\nfailover = true")
    text += mirrored("backup", second, [f"{tmp_path / 'c'}"]) + '[[backup.layers]]\nlayer = "readonly"\n'
    with open_storage("photos:", environ=profiles(text)) as store:
        info = store.connection_info()
        [replica] = store.backend.replicas
    again = ConnectionInfo.from_json(json.loads(json.dumps(info.to_json())))
    assert again == info
    with open_storage(again) as store:
        assert store.connection_info() == info
        assert repr(store.backend.replicas[0]) == repr(replica)
        assert store.backend.config.failover
        assert store.backend.config.require == 0


def test_secrets_of_others_stay_references(profiles, monkeypatch):
    monkeypatch.setenv("ME", "me")
    monkeypatch.setenv("HUSH", "canary")
    text = mirrored("photos", fresh(), ["backup:"])
    text += '[backup]\nurl = "s3://bucket"\nregion = "eu-west-1"\naccess_key_id = { env = "ME" }\nsecret_access_key = { env = "HUSH" }\n'
    with open_storage("photos:", environ=profiles(text)) as store:
        document = json.dumps(store.connection_info().to_json())
    assert '{"env": "HUSH"}' in document
    assert "canary" not in document


def test_a_literal_secret_is_warned_of_where_it_is_written_and_never_exported(profiles, monkeypatch):
    monkeypatch.setenv("ME", "me")
    text = mirrored("photos", fresh(), ["backup:"])
    text += '[backup]\nurl = "s3://bucket"\nregion = "eu-west-1"\naccess_key_id = { env = "ME" }\nsecret_access_key = "canary"\n'
    with pytest.warns(LiteralSecretWarning, match="profile 'backup' in .* holds the secret") as warned:
        store = open_storage("photos:", environ=profiles(text))
    assert warned[0].filename == __file__
    assert "canary" not in json.dumps(store.connection_info().to_json())
    info = store.connection_info()
    store.close()
    with pytest.raises(ConfigError, match="was given literally and so was not exported"):
        open_storage(info)


def test_the_environments_credentials_go_to_no_host_that_only_an_argument_names(profiles):
    environ = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_REGION": "eu-west-1"}
    layers = [{"layer": "mirror", "replicas": ["s3://bucket?endpoint=https://evil.example"]}]
    with pytest.raises(ConfigError, match="are set, and kept from what only a URL names"):
        open_storage(fresh(), layers=layers, environ=environ)
    # A profile is the user's own word.
    text = mirrored("photos", fresh(), ["s3://bucket?endpoint=https://mine.example"])
    with open_storage("photos:", environ=profiles(text, **environ)) as store:
        assert "mine.example" in json.dumps(store.connection_info().to_json())


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        (mirrored("one", "memory://a", ["one:"]), "one > one"),
        (mirrored("one", "memory://a", ["two:"]) + mirrored("two", "memory://b", ["one:x"]), "one > two > one"),
        (
            mirrored("one", "memory://a", ["memory://c", "two:"])
            + mirrored("two", "memory://b", ["six:"])
            + mirrored("six", "memory://d", ["two:"]),
            "one > two > six > two",
        ),
    ],
)
def test_profiles_that_lead_back_to_themselves(profiles, text, circle):
    with pytest.raises(ConfigError, match=f"profiles must not lead back to themselves: {circle}$"):
        open_storage("one:", environ=profiles(text))


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        ('["nobody:"]', "there is no profile 'nobody'"),
        ('["media"]', "the path of a profile starts with / or ~"),
        ("[7]", "the layer 'mirror' names other storages by a URL, a path, a profile"),
        ('[{ type = "memory", config = {} }]', "is named by a profile of its own"),
        ("[]", "at least one more storage"),
        ('["memory://b?nmae=x"]', "the memory storage has no option 'nmae'"),
    ],
)
def test_what_names_no_storage(profiles, replicas, message):
    text = f'[one]\nurl = "memory://a"\n[[one.layers]]\nlayer = "mirror"\nreplicas = {replicas}\n'
    with pytest.raises(ConfigError, match=message):
        open_storage("one:", environ=profiles(text))


def test_a_table_that_is_no_connection_info():
    with pytest.raises(ConfigError, match="connection info is"):
        open_storage(fresh(), layers=[{"layer": "mirror", "replicas": [{"type": "memory"}]}])


def test_a_wrong_option_of_another_profile_is_told_with_both_places(profiles):
    text = mirrored("one", "memory://a", ["two:"]) + '[two]\nurl = "memory://b"\nsize = 3\n'
    with pytest.raises(ConfigError) as caught:
        open_storage("one:", environ=profiles(text))
    assert "profile 'one' in " in caught.value.message
    assert "profile 'two' in " in caught.value.message


def test_an_unknown_option_is_told_with_those_that_name_storages():
    with pytest.raises(ConfigError, match=r"no option 'replica' \(known: .*replicas\); did you mean 'replicas'"):
        open_storage(fresh(), layers=[{"layer": "mirror", "replica": ["memory://b"]}])


def test_what_is_open_is_closed_when_a_later_one_fails(monkeypatch):
    closed = []
    monkeypatch.setattr(MemoryBackend, "close", lambda self: closed.append(self.description))
    first, second = fresh(), fresh()
    layers = [{"layer": "mirror", "replicas": [second, first]}]
    with pytest.raises(ConfigError, match="holds nothing of another"):
        open_storage(first, layers=layers)
    assert sorted(closed) == sorted([first, first, second])
    closed.clear()
    # A layer outside of the mirror fails: all of its members are closed, each once.
    layers = [{"layer": "prefix", "prefix": "x" * 2000}, {"layer": "mirror", "replicas": [second]}]
    with pytest.raises(ConfigError, match="leaves no room"):
        open_storage(first, layers=layers)
    assert sorted(closed) == sorted([first, second])


def test_creating_makes_all_of_them(tmp_path):
    layers = [{"layer": "mirror", "replicas": [str(tmp_path / "b")], "state": str(tmp_path / "state")}]
    with open_storage(tmp_path / "a", layers=layers, create=True) as store:
        store.put("k", b"1")
    assert (tmp_path / "b" / "k").read_bytes() == b"1"


def test_a_memory_without_a_name_leads_nowhere():
    with pytest.raises(UnsupportedError):
        MirrorLayer(MemoryBackend("a"), [MemoryBackend()]).connection_info()
