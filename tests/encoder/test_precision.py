"""What "auto" chooses, from what machines say of themselves."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.encoder.precision import Machine, capabilities, check_precision, fastest, has_bf16, this_machine
from clipfake.errors import UsageError

OLD, NEW = Machine(cpu_bf16=False), Machine(cpu_bf16=True)
MACHINES = st.builds(Machine, st.booleans(), st.lists(st.sampled_from([(7, 0), (7, 5), (8, 0), (9, 0)])).map(tuple))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx2 avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx512f avx512_vnni", False),
        ("fpu not_avx512_bf16x", False),
    ],
)
def test_the_processors_flags(flags, expected):
    one = f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n\n"
    assert has_bf16(one) is has_bf16(one * 3) is expected
    assert not has_bf16(one + one.replace(flags, "fpu sse2"))  # threads may land on either
    assert not has_bf16("") and not has_bf16("processor : 0\nFeatures : fp asimd bf16\n")


def test_compute_capabilities():
    assert capabilities("8.6\n9.0\n") == ((8, 6), (9, 0))
    assert capabilities("[N/A]\n") == ((0, 0),)  # told nothing: it counts as an old one
    assert capabilities("10.3\n") == ((10, 3),) and capabilities("") == ()


@given(st.lists(MACHINES, max_size=6))
def test_bf16_needs_every_machine_that_encodes(machines):
    cpus = [machine.cpu_bf16 for machine in machines]
    gpus = [gpu for machine in machines for gpu in machine.gpus]
    assert (fastest(machines, "cpu") == "bf16") == (bool(cpus) and all(cpus))
    assert (fastest(machines, "cuda") == "bf16") == (bool(gpus) and all(gpu[0] >= 8 for gpu in gpus))


def test_a_gpu_counts_for_work_on_gpus_only():
    machine = Machine(False, ((9, 0),))
    assert (fastest([machine], "cpu"), fastest([machine], "cuda")) == ("fp32", "bf16")
    assert fastest([Machine(True, ((7, 5),))], "cuda") == "fp32"
    assert fastest([Machine(True, ((10, 0), (7, 5)))], "cuda") == "fp32"


def test_this_machine_is_what_torch_says_of_it():
    torch = pytest.importorskip("torch")
    known = torch.cpu.get_capabilities()
    assert this_machine().cpu_bf16 == bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    if torch.cuda.is_available():
        assert torch.cuda.get_device_capability(0) in this_machine().gpus


def test_nvidias_tool_may_be_missing_or_fail(monkeypatch, tmp_path):
    for script in (None, "#!/bin/sh\nexit 9\n", "#!/bin/sh\necho 8.6\n"):
        if script:
            (tmp_path / "nvidia-smi").write_text(script)
            (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert this_machine().gpus == (((8, 6),) if script and "echo" in script else ())


def test_no_torch_is_needed_to_tell():
    code = "import sys, clipfake.encoder.precision as p; p.this_machine(); print({'torch', 'ray'} & set(sys.modules))"
    path = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, cwd=path)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("precision", [None, "auto", "fp32", "bf16", "fp16"])
def test_known_precisions(precision):
    check_precision(precision)


@pytest.mark.parametrize("precision", ["", "AUTO", "fp64", "tf32"])
def test_other_precisions_are_refused(precision):
    with pytest.raises(UsageError, match="give one of auto, fp32, bf16, fp16"):
        check_precision(precision)
