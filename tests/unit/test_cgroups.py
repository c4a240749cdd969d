"""Where control groups can be made, by what the kernel says of itself, and what is written there. A folder stands in for the kernel; what a
real one does with it is tested in tests/integration.
"""

from pathlib import Path

import pytest

from agent_servicing.adapters.runtime import cgroups
from agent_servicing.adapters.runtime.cgroups import ControlGroups
from agent_servicing.core.errors import TemporaryError

V1 = "cgroup ROOT/v1/cpu cgroup rw,relatime,cpu,cpuacct 0 0\ntmpfs /tmp tmpfs rw 0 0\n"
V2 = "cgroup2 ROOT/v2 cgroup2 rw,relatime 0 0\n"


def a_kernel(root: Path, mounts: str, own: str) -> Path:
    """Its `/proc`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts.replace("ROOT", str(root)))
    (root / "proc/self/cgroup").write_text(own)
    return root / "proc"


def files(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


def a_parent(root: Path, where: str, *, controllers: str = "cpu") -> Path:
    """A group of version 2 in which groups can be made. The one for the trial is there: a folder does not fill itself as the kernel's do."""
    parent = root / "v2" / where
    files(parent, cgroup__subtree_control=controllers)
    files(parent / f"{cgroups.prefix_of(root)}probe", cpu__max="")
    return parent


def test_a_machine_without_control_groups_says_so(tmp_path: Path) -> None:
    assert cgroups.find(tmp_path, proc=tmp_path / "nothing") == "this machine has no control groups for processors"


def test_version_1_is_found_by_its_controller_and_written_in_its_words(tmp_path: Path) -> None:
    proc = a_kernel(tmp_path, V1, "4:cpu,cpuacct:/unit\n1:name=systemd:/unit\n")
    parent = tmp_path / "v1/cpu/unit"
    for name in ("probe", "Mem.g1-1-1"):
        files(parent / f"{cgroups.prefix_of(tmp_path)}{name}", cpu__cfs_period_us="", cpu__cfs_quota_us="", cgroup__procs="")
    groups = cgroups.find(tmp_path, proc=proc)
    assert isinstance(groups, ControlGroups)
    assert (groups.parent, groups.version) == (parent, 1)
    group = parent / f"{cgroups.prefix_of(tmp_path)}Mem.g1-1-1"
    groups.limit("Mem/g1-1-1", 1.5)
    groups.join("Mem/g1-1-1", [4711])
    assert [(group / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cgroup.procs")] == [
        "150000",
        "100000",
        "4711",
    ]
    assert (groups.read("Mem/g1-1-1", 4711), groups.read("Mem/g1-1-1", 1)) == (1.5, None)


def test_version_2_takes_its_own_group_where_processors_are_shared_out_below_it(tmp_path: Path) -> None:
    proc = a_kernel(tmp_path, V2, "0::/user.slice/mine.scope\n")
    parent = a_parent(tmp_path, "user.slice/mine.scope", controllers="cpu memory")
    groups = cgroups.find(tmp_path, proc=proc)
    assert isinstance(groups, ControlGroups)
    assert (groups.parent, groups.version) == (parent, 2)
    group = parent / f"{cgroups.prefix_of(tmp_path)}Mem.g1-1-1"
    files(group, cpu__max="", cgroup__procs="4711\n4712\n")
    groups.limit("Mem/g1-1-1", 0.25)
    assert (group / "cpu.max").read_text() == "25000 100000"
    assert groups.read("Mem/g1-1-1", 4712) == 0.25
    groups.limit("Mem/g1-1-1", None)
    assert (group / "cpu.max").read_text().startswith("max 100000")


@pytest.mark.parametrize(("own", "taken"), [("system.slice/servicing.service/server", True), ("system.slice/servicing.service", False)])
def test_the_group_above_is_taken_from_within_a_delegated_unit_and_never_from_the_unit_itself(
    tmp_path: Path, own: str, taken: bool
) -> None:
    proc = a_kernel(tmp_path, V2, f"0::/{own}\n")
    (tmp_path / "v2" / own).mkdir(parents=True)
    above = a_parent(tmp_path, str(Path(own).parent))
    groups = cgroups.find(tmp_path, proc=proc)
    if taken:
        assert isinstance(groups, ControlGroups)
        assert groups.parent == above
    else:
        missing = tmp_path / "v2" / own / "cgroup.subtree_control"
        assert groups == f"no control groups can be made in {tmp_path / 'v2' / own}: No such file or directory ({missing})"


def test_what_cannot_be_written_is_an_error_that_names_the_instance(tmp_path: Path) -> None:
    groups = ControlGroups(parent=tmp_path, version=2, prefix="servicing-")
    with pytest.raises(TemporaryError, match=r"Mem/g1-1-1 cannot be limited to 0.5 processors"):
        groups.limit("Mem/g1-1-1", 0.5)
    assert groups.read("Mem/g1-1-1", 1) is None
