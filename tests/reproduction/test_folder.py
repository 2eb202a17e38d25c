"""Run folders: whole, and of exactly these settings."""

from hybridlib import files
from reproduction.run import folder


def test_publish_replaces_what_stood_there(tmp_path):
    for name in ("run", ".run.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    folder.publish(tmp_path / ".run.tmp", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "who").read_text() == ".run.tmp"


def test_a_run_is_complete_if_its_settings_are_these(tmp_path):
    assert not folder.is_complete(tmp_path / "nowhere", {"seed": 0})
    files.write_json(tmp_path / "settings.json", {"seed": 0, "languages": ["de", "en"]})
    assert folder.is_complete(tmp_path, {"languages": ["de", "en"], "seed": 0})
    assert not folder.is_complete(tmp_path, {"languages": ["en", "de"], "seed": 0})


def test_a_manifest_says_what_a_run_ran_on():
    found = folder.manifest(0.0, device="cpu")
    assert found["device"] == "cpu" and found["versions"]["torch"].startswith(("2.", "3."))
    assert found["seconds"] > 0 and found["threads"] >= 1 and found["peak_memory_gib"] > 0
    assert found["git"] and not any(str(value).startswith("/") for value in found.values()), "no place of a machine"
