"""Build folders: what lutc wrote is replaced, and nothing else is lost, whenever and however a command ends."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from command import invoked

import lutc
from lutc import plugins
from lutc.files import folder, writing

TEXT = "lir 1\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = neg %x\n}\n"
Compile = Callable[..., Result]


@pytest.fixture(name="compile")
def _compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Compiles a small design, by default into `build`; the exit code must be the one given."""
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TEXT)

    def run(*arguments: str, code: int = 0, command: str = "compile") -> Result:
        options = ["d.lir", "--vectors", "4", "--stages", "0"] if command == "compile" else []
        return invoked(command, *options, *arguments, code=code)

    return run


def seen(place: Path = Path("build")) -> dict[str, bytes | str]:
    """All that is in a folder: files with what they hold, links with where they point."""
    found: dict[str, bytes | str] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
    return found


def alone() -> bool:
    """Whether nothing but the folder and its source is there: no lock, no temporary folder."""
    return {p.name for p in Path().iterdir()} <= {"d.lir", "build"}


# -- what is not ours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    ["notes.txt", "rtl/mine.v", "stages/99-mine.lir", "sim/tb.py", "sim/results.xml", "sim/waves.fst",
     "sim/__pycache__/tb.pyc", "vivado/run/out.dcp", ".git/config", "stages/.hidden"],
)  # fmt: skip
def test_a_users_file_stays(compile: Compile, file: str) -> None:
    compile()
    Path("build", file).parent.mkdir(parents=True, exist_ok=True)
    Path("build", file).write_text("precious")
    os.chmod(Path("build", file), 0o640)
    before = Path("build", file).stat()
    compile("--top", "other")
    after = Path("build", file).stat()
    assert Path("build", file).read_text() == "precious"
    assert (after.st_ino, after.st_mode, after.st_mtime) == (before.st_ino, before.st_mode, before.st_mtime)
    assert list(Path("build/rtl").glob("*d.v")) == [] and Path("build/rtl/other.v").exists() and alone()


def test_links_and_folders_of_a_user_stay(compile: Compile) -> None:
    compile()
    Path("build/results/deep/empty").mkdir(parents=True)
    os.chmod("build/results", 0o700)
    Path("build/gone").symlink_to("nowhere")
    Path("build/up").symlink_to("..")
    Path("build/rtl/latest").symlink_to("../stages")
    os.mkfifo("build/pipe")
    compile("--hdl", "vhdl")
    assert Path("build/results/deep/empty").is_dir() and Path("build/results").stat().st_mode & 0o777 == 0o700
    assert [os.readlink(f"build/{n}") for n in ("gone", "up", "rtl/latest")] == ["nowhere", "..", "../stages"]
    assert Path("build/pipe").is_fifo() and Path("d.lir").read_text() == TEXT and alone()


def test_files_in_a_file_system_without_second_names(
    compile: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    compile()
    Path("build/a/b").mkdir(parents=True)
    Path("build/a/b/c.txt").write_text("precious")
    monkeypatch.setattr(os, "link", link)
    compile("--hdl", "vhdl")
    assert Path("build/a/b/c.txt").read_text() == "precious" and Path("build/rtl/d.vhd").exists() and alone()


def add(path: str, text: str = "mine") -> Callable[[], object]:
    return lambda: Path(path).write_text(text)


def linked(path: str) -> Callable[[], object]:
    def change() -> None:
        place = Path(path)
        place.rename("moved")
        place.symlink_to(Path("moved").resolve())

    return change


def in_place_of(path: str) -> Callable[[], object]:
    """A folder of the user's where a file of ours was."""

    def change() -> None:
        Path(path).unlink()
        Path(path).mkdir()
        Path(path, "mine.txt").write_text("mine")

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (add("build/rtl/d.v"), "edited since lutc wrote it: rtl/d.v"),
        (add("build/report.json", '{"lutc": "1"}'), "edited since lutc wrote it: report.json"),
        (add("build/sim/run.py"), "edited since lutc wrote it: sim/run.py"),
        (linked("build/model.lir"), "edited since lutc wrote it: model.lir"),
        (linked("build/rtl"), "stand where the new build has its own: rtl"),
        (in_place_of("build/model.lir"), "stand where the new build has its own: model.lir/mine.txt"),
        (add("build/rtl/other.v"), "stand where the new build has its own: rtl/other.v"),
        (add("build/.lutc-files.json", "{"), ".lutc-files.json, cannot be read"),
        (add("build/.lutc-files.json", "[]"), ".lutc-files.json, cannot be read"),
        (add("build/.lutc-files.json", '{"sha256": {"model.lir": 3}}'), ".lutc-files.json, cannot be read"),
        (add("build/.lutc-files.json", "[" * 100_000), ".lutc-files.json, cannot be read"),
        (add("build/.lutc-files.json", '{"sha256": {}}'), "stand where the new build has its own: model.lir"),
        (linked("build/.lutc-files.json"), ".lutc-files.json, cannot be read"),
        (lambda: os.unlink("build/.lutc-files.json"), "it has no .lutc-files.json"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_named_and_stays(
    compile: Compile, change: Callable[[], object], named: str
) -> None:
    compile()
    change()
    before = seen(Path())
    result = compile("--top", "other", code=2)
    assert named in result.stderr and "= help: " in result.stderr and "-o" in result.stderr
    assert seen(Path()) == before


@pytest.mark.parametrize(
    "report",
    [
        '{"lutc": "1.0"}',
        '"lutc"',
        '["lutc"]',
        '{"notes": "made with lutc"}',
        "lutc",
        "",
        '{"files": {"lutc": 1}}',
    ],
)
def test_a_foreign_folder_with_a_report_stays(compile: Compile, report: str) -> None:
    """Whatever its report says: a folder is a build by its list of files alone."""
    Path("build").mkdir()
    Path("build/report.json").write_text(report)
    Path("build/thesis.tex").write_text("precious")
    before = seen()
    assert "holds other things" in compile(code=2).stderr
    assert seen() == before and alone()


def test_a_list_that_names_files_elsewhere_reaches_none(compile: Compile) -> None:
    """A build folder that somebody else made: its list is looked things up in, never followed."""
    compile()
    digest = json.loads(Path("build/.lutc-files.json").read_text())["sha256"]["model.lir"]
    shutil.copy("build/model.lir", "outside.lir")
    listed = json.loads(Path("build/.lutc-files.json").read_text())
    listed["sha256"] |= {"../outside.lir": digest, str(Path("outside.lir").resolve()): digest}
    Path("build/.lutc-files.json").write_text(json.dumps(listed))
    compile()
    assert Path("outside.lir").exists()


def test_what_the_bench_leaves_is_no_obstacle(compile: Compile) -> None:
    first = compile("--verify")
    compile(command="simulate")
    Path("build/sim/__pycache__").mkdir()
    Path("build/sim/__pycache__/plan.cpython-311.pyc").write_text("compiled")
    assert Path("build/sim/results.json").exists() and "verified: 4" in first.output
    assert "verified: 4" in compile("--verify", "--top", "other").output
    compile()
    assert not Path("build/sim/results.json").exists(), "the verdict of another circuit"
    assert not Path("build/sim/simulation.log").exists() and not Path("build/sim/__pycache__").exists()
    assert alone()


def test_a_file_of_ours_may_be_deleted(compile: Compile) -> None:
    compile()
    Path("build/model.lir").unlink()
    shutil.rmtree("build/stages")
    compile()
    assert Path("build/model.lir").exists() and list(Path("build/stages").iterdir())


def test_through_a_link(compile: Compile) -> None:
    Path("real").mkdir()
    os.chmod("real", 0o750)
    Path("link").symlink_to("real")
    for hdl in ("verilog", "vhdl"):
        compile("-o", "link", "--hdl", hdl)
    assert Path("link").is_symlink() and [p.name for p in Path("real/rtl").iterdir()] == ["d.vhd"]
    assert Path("real").stat().st_mode & 0o777 == 0o750
    Path("dangling").symlink_to("later/build")
    compile("-o", "dangling")
    assert Path("later/build/model.lir").exists() and Path("dangling").is_symlink()


def test_where_no_folder_can_be(compile: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    compile()
    before = seen(Path())
    assert "there is a file of that name" in compile("-o", "d.lir", code=2).stderr
    assert "d.lir" in compile("-o", "d.lir/build", code=2).stderr
    with monkeypatch.context() as inside:
        inside.chdir("build/rtl")
        said = invoked("compile", "../../d.lir", "-o", "..", code=2).stderr
        assert "standing in that folder" in said

    def denied(*arguments: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(arguments[0]))

    with monkeypatch.context() as locked:
        locked.setattr(os, "open", denied)
        said = compile(code=2).stderr
    assert said.startswith("build: error: cannot write beside it: Permission denied")
    with monkeypatch.context() as locked:
        locked.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        assert "build: error: the folder is read-only" in compile(code=2).stderr
    assert seen(Path()) == before
    Path("loop").symlink_to("loop")
    assert "loop: error:" in compile("-o", "loop", code=2).stderr


# -- whenever it ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.lir", "report.json", "outputs.hex", "run.py", ".lutc-files.json"])
def test_a_full_disk_names_the_file(compile: Compile, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    compile()
    Path("build/notes.txt").write_text("precious")
    before = seen()
    opened = Path.open

    def full(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if self.name == file and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    said = compile("--top", "other", code=2).stderr
    assert said.startswith("build/") and "error: No space left on device" in said and "-lutc-" not in said
    assert file in said or said.startswith("build/sim:")
    assert seen() == before and alone()


_STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}


def killed_at(step: int, write: Callable[[], object]) -> bool:
    """Do something in a process of its own, which is killed before its so-many-th step; False if it got to its end."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or status == 0
        return os.WIFSIGNALED(status)
    try:
        count = 0

        def kill(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "os.kill":
                return
            # The first time in the middle of filling; then step by step from when the new folder is complete.
            name = str(arguments[0]) if arguments else ""
            if count or (event == "open" and name.endswith("-lutc-new/.lutc-files.json")):
                count += event in _STEPS or not count
                if count > step > 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            elif event == "open" and name.endswith("-lutc-new/report.json") and not step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        write()
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("links", [True, False])
def test_after_a_kill_at_any_moment_the_next_run_clears_up(
    compile: Compile, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    old, new = (lutc.compile("d.lir", stages=0, hdl=hdl) for hdl in ("verilog", "vhdl"))
    mine = ("a.txt", "rtl/b.txt", "deep/er/c.txt")
    if not links:
        monkeypatch.setattr(os, "link", lambda *arguments, **options: os.stat("no such thing here"))
    whole = [{p.name for p in Path(b.write("other", vectors=2)).rglob("*")} for b in (old, new)]
    shutil.rmtree("other")
    names = {"a.txt", "b.txt", "deep", "er", "c.txt"}
    step, between = 0, 0
    while True:
        shutil.rmtree("build", ignore_errors=True)
        old.write("build", vectors=2)
        for name in mine:
            Path("build", name).parent.mkdir(parents=True, exist_ok=True)
            Path("build", name).write_text(name)
        if not killed_at(step, lambda: new.write("build", vectors=2)):
            break
        if not Path("build").exists():
            between += 1
        elif links:
            assert all(Path("build", name).read_text() == name for name in mine), step
        with folder.held(Path("build").resolve()):  # as the next run does first, whichever it is
            pass
        assert alone(), step
        assert {p.name for p in Path("build").rglob("*")} - names in whole, step
        assert all(Path("build", name).read_text() == name for name in mine), step
        step += 1
    assert step > 40 and between == 1 and alone()


def test_a_simulation_puts_the_folder_right_too(compile: Compile) -> None:
    compile()
    Path("build").rename(".build-lutc-old")
    assert "verified" in compile(command="simulate").output and alone()


def test_an_interrupt_between_the_renames_puts_the_old_one_back(
    compile: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile()
    Path("build/notes.txt").write_text("precious")
    before = seen()
    rename = Path.rename

    def stop(self: Path, target: Path) -> Path:
        if self.name.endswith("-lutc-new"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    compile("--top", "other", code=130)
    assert seen() == before and alone()


@pytest.mark.parametrize(
    ("where", "name"), [(os, "open"), (writing, "lock"), (Path, "mkdir"), (Path, "touch"), (writing, "here")]
)
def test_an_interrupt_right_after_a_step_leaves_nothing(
    compile: Compile, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """Something was made, and who made it has not been told yet."""
    real = getattr(where, name)

    def stop(*given: Any, **options: Any) -> Any:
        made = real(*given, **options)
        path = os.readlink(f"/proc/self/fd/{given[0]}") if type(given[0]) is int else str(given[0])
        if "-lutc-" in path:
            monkeypatch.setattr(where, name, real)
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(where, name, stop)
    compile(code=130)
    assert alone() and not Path("build").exists()
    compile()


def test_what_changes_while_lutc_writes_is_kept(compile: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file of the user's comes over too; a file of ours that was edited in these moments is told of."""
    compile()
    link = folder._link

    def late(place: Path, new: Path, kept: Any) -> None:
        link(place, new, kept)
        (place / "late.txt").write_text("precious")
        (place / "model.lir").write_text("edited")

    monkeypatch.setattr(folder, "_link", late)
    said = compile("--hdl", "vhdl", code=2).stderr
    assert "model.lir" in said and ".build-lutc-old" in said
    assert Path("build/late.txt").read_text() == "precious"
    assert Path(".build-lutc-old/model.lir").read_text() == "edited"


# -- two at once ------------------------------------------------------------------------------------------------------

ONE = """\
import sys
from lutc.cli import main
main(["compile", "d.lir", "--vectors", "50", "--stages", "0", "--verify", "--hdl", sys.argv[1], "--top", sys.argv[2]])
"""


def test_two_into_one_folder(compile: Compile) -> None:
    """Six at a time: each ends well, each has verified its own circuit, and the last one's build is there whole."""
    compile()
    Path("build/notes.txt").write_text("precious")
    started = []
    for n in range(6):
        command = [sys.executable, "-c", ONE, ["verilog", "vhdl"][n % 2], f"top{n}"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for process in started:
        said, wrong = process.communicate(timeout=240)
        assert process.returncode == 0, wrong
        assert "verified: 50 vectors" in said
    top = json.loads(Path("build/report.json").read_text())["top"]
    assert [p.stem for p in Path("build/rtl").iterdir()] == [top] and alone()
    assert json.loads(Path("build/sim/bench.json").read_text())["top"] == top
    assert Path("build/notes.txt").read_text() == "precious"


def test_one_waits_for_the_other(compile: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one writes, another one touches nothing; the folder of a living process is never cleared away."""
    compile()
    build = lutc.compile("d.lir", stages=0)
    write = plugins.bench().write
    other: list[subprocess.Popen[str]] = []

    def slow(*arguments: Any, **options: Any) -> None:
        command = [sys.executable, "-c", ONE, "vhdl", "other"]
        other.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        with pytest.raises(subprocess.TimeoutExpired):
            other[0].wait(timeout=3)
        assert Path(".build-lutc-new/model.lir").exists()
        write(*arguments, **options)

    monkeypatch.setattr(plugins.bench(), "write", slow)
    build.write("build", vectors=4)
    assert other[0].wait(timeout=120) == 0
    assert [p.name for p in Path("build/rtl").iterdir()] == ["other.vhd"] and alone()


def test_a_simulation_ends_with_the_command_that_was_killed(compile: Compile, tmp_path: Path) -> None:
    """Else it would write its verdict beside the next circuit."""
    compile("--vectors", "300000")
    code = "from lutc.cli import main; main(['simulate', 'build'])"
    (home := tmp_path / "home").mkdir()
    env = os.environ | {"TMPDIR": str(home), "LUTC_SIM": "icarus"}
    with subprocess.Popen([sys.executable, "-c", code], env=env) as process:
        wait_until(lambda: bool(list(home.glob("lutc-sim-*/*.vvp"))))
        process.kill()
    wait_until(lambda: not list(home.iterdir()))
    assert not list(Path("build/sim").glob("results.json*"))


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_a_lock_that_nobody_holds_is_none(compile: Compile) -> None:
    Path(".build-lutc-lock").touch()
    compile()
    assert alone()


def test_a_folder_of_a_very_long_name(compile: Compile) -> None:
    for hdl in ("verilog", "vhdl"):
        compile("-o", "b" * 255, "--hdl", hdl)
    assert [p.name for p in Path("b" * 255, "rtl").iterdir()] == ["d.vhd"]
    assert len(list(Path().iterdir())) == 2


def test_a_place_inside_a_build_is_refused(compile: Compile) -> None:
    compile("-o", "build")
    told = compile("-o", "build/rtl/deep/in", code=2).stderr
    assert "lies inside the build" in told and not Path("build/rtl/deep").exists()
    compile("-o", "build")


def test_a_folder_that_is_read_only_is_told_before_the_work(
    compile: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile("-o", "build")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "rtl" not in str(path) and may(path, mode))
    assert "it has folders that are read-only: rtl" in compile("-o", "build", code=2).stderr
    assert [p.name for p in Path().iterdir() if p.name.startswith(".build")] == []
