"""What the doctor finds: packages, limits of containers, checksums, crashes. Machines and packages are made up here."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from detection import health, health_machine, health_probe
from detection.health import Finding, Package, anonymous, is_older, probe, requirement
from detection.self_test import run_self_test

ROOT = Path(__file__).parents[1]


def package_that(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)


def files(folder: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("version", "wanted", "older"),
    [
        ("1.3.9", "motmetrics>=1.4", True),
        ("1.4", "motmetrics>=1.4", False),
        ("2.15.0+cu132", "torch>=2.10", False),  # 15 is more than 10, though "15" < "9" as text
        ("2.9.1", "torch>=2.10", True),
        ("anything", "timm", False),
    ],
)
def test_versions_are_compared_by_number(version: str, wanted: str, older: bool) -> None:
    assert is_older(version, wanted) is older


def test_requirements_are_those_of_setup_cfg() -> None:
    asked = re.findall(r"^    ([a-z]+>=[0-9.]+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert requirement("numpy") in asked
    for package in health.NEEDED:
        assert requirement(package.distribution) in asked
    assert requirement("unheard-of") == "unheard-of"


def test_a_crash_a_failed_import_and_an_absent_package_are_findings_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_that(tmp_path, "motmetrics", "raise ImportError('libthing.so.7: cannot open shared object file')")
    package_that(tmp_path, "pandas", "import os; os.abort()")
    package_that(tmp_path, "tqdm", "__version__ = '1.0'")
    package_that(tmp_path, "matplotlib", "import no_such_module_at_all")
    package_that(tmp_path, "cv2", "__version__ = '4.9'; print('chatter')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    steps = ["motmetrics", "pandas", "tqdm", "matplotlib", "cv2"]
    found = {finding.name: finding for finding in probe([f"import:{name}" for name in steps])}
    assert list(found) == steps
    assert found["motmetrics"].status == "broken"
    assert "libthing.so.7" in found["motmetrics"].detail
    assert found["motmetrics"].advice == "python -m pip install --force-reinstall 'motmetrics>=1.4'"
    assert found["pandas"].status == "broken"
    assert "signal 6" in found["pandas"].detail
    assert found["tqdm"] == Finding(
        "packages", "tqdm", "broken", "1.0 is too old", "python -m pip install --upgrade 'tqdm>=4.60'"
    )
    assert "no_such_module_at_all" in found["matplotlib"].detail
    assert found["cv2"] == Finding("optional packages", "cv2", "ok", "4.9", needed=False)


def test_a_package_that_is_not_there_is_missing_with_the_line_that_installs_it() -> None:
    absent = Package("no_such_module_at_all", "no-such-package", "dreams", needed=True)
    (finding,) = health_probe.import_package(absent)
    assert finding.status == "missing"
    assert finding.advice == "python -m pip install 'no-such-package'"
    assert finding.is_trouble
    (finding,) = health_probe.import_package(Package("no_such_module_at_all", "x", "dreams", extra="parquet"))
    assert finding.advice == "python -m pip install -e '.[parquet]'"
    assert not finding.is_trouble


def test_a_package_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_that(tmp_path, "timm", "import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = probe(["import:timm"], seconds=3)
    assert (finding.name, finding.status, finding.needed) == ("timm", "broken", False)
    assert "no answer in 3 s" in finding.detail


CPUINFO = "processor\t: 0\nmodel name\t: Abacus 3000\n"
MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


def test_limits_of_a_container_of_version_2_are_those_of_the_nearest_group_that_has_some(tmp_path: Path) -> None:
    system = files(
        tmp_path,
        {
            "proc/cpuinfo": CPUINFO,
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/job/task\n",
            "sys/fs/cgroup/job/task/memory.max": "max\n",
            "sys/fs/cgroup/job/memory.max": "4000000000\n",
            "sys/fs/cgroup/job/memory.current": "3000000000\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
        },
    )
    assert health_machine.memory_limit(system) == (4_000_000_000, 3_000_000_000)
    assert health_machine.cpu_limit(system) == 150_000 / 100_000
    found = {finding.name: finding for finding in health_machine.machine_findings(tmp_path, system)}
    assert found["processor"].detail.startswith("Abacus 3000, ")
    assert found["container"].detail == "limited to the time of 1.5 processors"
    # 16,000,000 kB of 1,024 bytes; 4 - 3 GB are left of the limit, which is not much
    assert found["memory"].detail.startswith("16.4 GB, 8.2 GB free; the container may use 4.0 GB and uses 3.0 GB")
    assert found["memory"].advice


def test_limits_of_a_container_of_version_1_and_none_at_all(tmp_path: Path) -> None:
    old = files(
        tmp_path / "old",
        {
            "proc/self/cgroup": "4:memory:/docker/ab\n1:cpu,cpuacct:/docker/ab\n",
            "sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": "2000000000\n",
            "sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes": "500000000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert health_machine.memory_limit(old) == (2_000_000_000, 500_000_000)
    assert health_machine.cpu_limit(old) == 2
    free = files(tmp_path / "free", {"sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096)})
    assert health_machine.memory_limit(free) == (None, 0)
    assert health_machine.cpu_limit(free) is None
    names = {finding.name: finding.detail for finding in health_machine.machine_findings(tmp_path, free)}
    assert names["memory"] == "the operating system does not tell"
    assert "container" not in names


def test_an_output_folder_that_is_a_file_or_full_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    found = {finding.name: finding for finding in health_machine.machine_findings(tmp_path / "file")}
    assert found["output folder"].status == "broken"
    monkeypatch.setattr(health_machine, "LOW_DISK", 1e18)
    found = {finding.name: finding for finding in health_machine.machine_findings(tmp_path / "new" / "folder")}
    assert found["output folder"].status == "broken"
    assert not (tmp_path / "new").exists()


def test_recorded_checksums_are_those_of_the_bundled_files_and_of_the_model_cards() -> None:
    recorded = dict(line.split()[::-1] for line in health_probe.CHECKSUMS.read_text().splitlines())
    here = {path.name: path for path in health_probe.ASSETS.iterdir() if path != health_probe.CHECKSUMS}
    made = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in here.items()}
    assert recorded == made, "after new weights: cd assets && sha256sum *.mp4 *.safetensors > SHA256SUMS"
    for name, digest in made.items():
        if name.endswith(".safetensors"):
            assert digest in (ROOT / "docs" / "models" / name).with_suffix(".md").read_text()


def test_one_changed_bit_of_a_bundled_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = b"weights"
    digest = hashlib.sha256(sound).hexdigest()
    names = ("sound", "damaged", "pointer", "absent")
    (tmp_path / "sound").write_bytes(sound)
    (tmp_path / "damaged").write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    (tmp_path / "pointer").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name in names))
    monkeypatch.setattr(health_probe, "ASSETS", tmp_path)
    monkeypatch.setattr(health_probe, "CHECKSUMS", tmp_path / "SHA256SUMS")
    found = {finding.name: finding for finding in health_probe.assets()}
    assert [found[name].status for name in names] == ["ok", "broken", "broken", "missing"]
    assert found["pointer"].detail == "a pointer of Git LFS, not the file"
    (tmp_path / "SHA256SUMS").unlink()
    (finding,) = health_probe.assets()
    assert finding.status == "missing"


def test_the_self_test_stops_at_a_clip_that_cannot_be_decoded(tmp_path: Path) -> None:
    demo = tmp_path / "demo.mp4"
    demo.write_bytes((ROOT / "assets" / "demo.mp4").read_bytes()[:3000])
    found = list(run_self_test(demo, frames=12))
    assert [(finding.name, finding.status) for finding in found] == [("decoding", "broken"), ("weights", "ok")]
    assert "demo.mp4" in found[0].detail


def test_decoders_that_a_build_lacks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    def found() -> list[Finding]:
        return [finding for finding in health_probe.codecs() if finding.name == "decoders"]

    assert [finding.status for finding in found()] == ["ok"]
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"hevc", "h264"})
    (finding,) = found()
    assert finding.detail == "without h264, hevc"
    assert finding.is_trouble  # H.264 is what most videos are


def test_names_of_people_and_places_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setenv("HOME", "/data/alice")
    assert anonymous(f"{ROOT}/assets: not there") == "CHECKOUT/assets: not there"
    assert anonymous("cannot open /home/bob/venv/lib.so") == "cannot open ~/venv/lib.so"
    assert anonymous(r"C:\Users\Bob B\x /Users/eve/y") == r"~ B\x ~/y"
    assert anonymous("/data/alice/results belongs to alice") == "~/results belongs to USER"
    monkeypatch.setenv("LOGNAME", "on")
    assert anonymous("on the CPU") == "on the CPU"


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "doctor.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_the_doctor_tries_everything_and_tells_no_names(tmp_path: Path) -> None:
    home = tmp_path / "alice"
    done = doctor("--output", str(home / "results"), HOME=str(home), LOGNAME="alice", USER="alice")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything that is needed works" in done.stdout
    assert "annotated videos will be h264" in done.stdout
    for part in ("decoding", "weights", "detection", "a video there and back", "a tube table there and back"):
        assert re.search(rf"^  ok +{part} ", done.stdout, re.MULTILINE)
    assert "alice" not in done.stdout
    assert str(ROOT) not in done.stdout
    assert done.stderr == ""


def test_the_doctor_reports_what_does_not_work_and_ends_with_1(tmp_path: Path) -> None:
    """No package can be imported, so nothing else can be tried; the report is whole all the same."""
    for package in (*health.NEEDED, *health.OPTIONAL):
        package_that(tmp_path, package.module, "raise ImportError('tampered with')")
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["works"] is False
    found = {finding["name"]: finding for finding in report["findings"]}
    assert all(found[package.module]["status"] == "broken" for package in (*health.NEEDED, *health.OPTIONAL))
    assert found["self-test"]["advice"] == "first mend the packages above"
    assert found["demo.mp4"]["status"] == "ok"
    assert "Traceback" not in done.stdout + done.stderr


def test_help_is_there_without_importing_torch(tmp_path: Path) -> None:
    package_that(tmp_path, "torch", "raise ImportError('tampered with')")
    done = doctor("--help", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "python tools/doctor.py" in done.stdout
