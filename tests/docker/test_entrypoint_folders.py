import shutil
import subprocess
from pathlib import Path

import pytest


def test_a_writable_home_stays(box):
    assert box.enter("train").variables["HOME"] == f"{box.folder}/home"


@pytest.mark.parametrize("home", [None, "", "/nowhere/home"])
def test_without_a_home_that_can_be_written_a_folder_of_ones_own_is(box, unprivileged, home):
    entered = box.enter("train", through=unprivileged, HOME=home)
    own = Path(entered.variables["HOME"])
    assert own.parent == box.folder / "tmp"
    assert own.stat().st_mode & 0o777 == 0o700
    assert f"using {own}." in entered.stderr


def test_a_read_only_home_is_replaced(box, unprivileged):
    entered = box.enter("train", through=unprivileged, HOME=f"{box.folder}/sealed")
    assert Path(entered.variables["HOME"]).parent == box.folder / "tmp"


def test_a_home_that_another_user_has_made_is_not_used(box, stranger):
    taken = box.folder / "tmp" / "ldc-home-54321"
    taken.mkdir()
    taken.chmod(0o777)
    entered = box.enter("train", through=stranger, HOME=None)
    try:
        assert entered.variables["HOME"] not in {"", str(taken)}
    finally:
        shutil.rmtree(entered.variables["HOME"])


def test_processes_of_one_node_share_the_replaced_home(box, unprivileged):
    first, second = (box.enter("train", through=unprivileged, HOME=None).variables["HOME"] for _ in range(2))
    assert first == second


def test_a_uid_without_an_entry_gets_a_name(box, stranger):
    variables = box.enter("train", through=stranger).variables
    assert (variables["USER"], variables["LOGNAME"]) == ("ldc", "ldc")


def test_a_uid_without_an_entry_runs_python_that_asks_for_home_and_user(box, stranger):
    asks = "import getpass, os; print(getpass.getuser(), os.path.expanduser('~'))"
    command = box.command("python3", "-c", asks, through=stranger)
    ran = subprocess.run(command, env=box.environment(HOME="/"), capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.split() == ["ldc", str(box.folder / "tmp" / "ldc-home-54321")]


def test_a_uid_with_an_entry_keeps_its_name(box):
    assert "USER" not in box.enter("train").variables


@pytest.mark.parametrize(("name", "below"), [("HF_HOME", "huggingface"), ("LDC_CACHE", "ldc")])
def test_an_empty_cache_that_cannot_be_written_moves_to_the_home(box, unprivileged, name, below):
    entered = box.enter("train", through=unprivileged, **{name: f"{box.folder}/sealed"})
    assert entered.variables[name] == f"{box.folder}/home/.cache/{below}"
    assert name in entered.stderr


def test_a_shared_cache_that_is_filled_and_read_only_is_kept(box, unprivileged):
    sealed = box.folder / "sealed"
    sealed.chmod(0o755)
    (sealed / "hub").mkdir()
    sealed.chmod(0o555)
    entered = box.enter("train", through=unprivileged, HF_HOME=str(sealed))
    assert entered.variables["HF_HOME"] == str(sealed)
    assert "is read-only" in entered.stderr


def test_a_cache_that_can_be_written_is_made(box):
    assert box.enter("train", LDC_CACHE=f"{box.folder}/home/new").variables["LDC_CACHE"] == f"{box.folder}/home/new"
    assert (box.folder / "home" / "new").is_dir()


def test_caches_lie_in_the_volume_where_one_is_mounted(box, allowed):
    volume = box.folder / "volume"
    volume.mkdir()
    mounted = ("unshare", "--mount", "--", "sh", "-c", f'mount -t tmpfs none {volume} && exec "$@"', "sh")
    variables = box.enter("train", through=allowed(*mounted), LDC_VOLUME=str(volume)).variables
    assert (variables["HF_HOME"], variables["LDC_CACHE"]) == (f"{volume}/huggingface", f"{volume}/ldc")


def test_caches_stay_out_of_a_volume_that_is_not_mounted(box):
    variables = box.enter("train", LDC_VOLUME=str(box.folder / "tmp")).variables
    assert not {"HF_HOME", "LDC_CACHE"} & variables.keys()


def test_a_cache_that_is_given_goes_before_the_volume(box, allowed):
    volume, given = box.folder / "tmp", str(box.folder / "home" / "given")
    mounted = ("unshare", "--mount", "--", "sh", "-c", f'mount -t tmpfs none {volume} && exec "$@"', "sh")
    entered = box.enter("train", through=allowed(*mounted), LDC_VOLUME=str(volume), LDC_CACHE=given)
    assert entered.variables["LDC_CACHE"] == given


def test_a_tilde_that_no_shell_has_read_is_the_home(box):
    assert box.enter("train", LDC_CACHE="~/c").variables["LDC_CACHE"] == f"{box.folder}/home/c"


def test_folders_of_the_host_that_the_container_lacks_are_left_out(box, unprivileged):
    lacking = dict.fromkeys(("TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), f"{box.folder}/sealed/scratch")
    assert not lacking.keys() & box.enter("train", through=unprivileged, **lacking).variables.keys()


def test_a_read_only_root_leaves_a_folder_that_is_mounted_writable(box, allowed, stranger):
    sealed = allowed("unshare", "--mount", "--", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")
    caches = {"HF_HOME": "/cache/huggingface", "LDC_CACHE": "/cache/ldc"}
    variables = box.enter("train", through=(*sealed, *stranger), HOME="/home/ldc", TMPDIR=None, **caches).variables
    home = Path(variables["HOME"])
    shutil.rmtree(home)
    assert str(home) in {"/tmp/ldc-home-54321", "/dev/shm/ldc-home-54321"}  # noqa: S108
    assert (variables["HF_HOME"], variables["LDC_CACHE"]) == (f"{home}/.cache/huggingface", f"{home}/.cache/ldc")
