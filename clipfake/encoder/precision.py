"""Which precision machines compute fast, told from what they say of themselves: no torch is imported for it."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from clipfake.errors import UsageError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16", "fp16")
AUTO: Final = "auto"
_AMPERE: Final = (8, 0)  # the first of NVIDIA's generations with bf16
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Machine:
    """cpu_bf16 : whether each processor has it; gpus : the compute capability of each GPU that the driver shows"""

    cpu_bf16: bool
    gpus: tuple[tuple[int, int], ...] = ()


def check_precision(precision: str | None) -> None:
    """Raises UsageError for what is neither a precision nor "auto"; None, for not given, is fine."""
    if precision not in (None, AUTO, *PRECISIONS):
        raise UsageError(f"the precision is {precision!r}; give one of {', '.join((AUTO, *PRECISIONS))}")


def fastest(machines: Sequence[Machine], device: str) -> Precision:
    """bf16 if all the machines that will encode on `device` ("cpu" or "cuda") have it, else fp32."""
    if device == "cuda":
        gpus = [gpu for machine in machines for gpu in machine.gpus]
        return "bf16" if gpus and min(gpus) >= _AMPERE else "fp32"
    return "bf16" if machines and all(machine.cpu_bf16 for machine in machines) else "fp32"


def this_machine() -> Machine:
    """What is here: of the processors by the kernel, of the GPUs by NVIDIA's own tool, where there is one."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = ""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        told = ""
    return Machine(has_bf16(cpuinfo), capabilities(told))


def has_bf16(cpuinfo: str) -> bool:
    """Whether each processor in the text of /proc/cpuinfo multiplies bf16: AVX512-BF16 or AMX-BF16."""
    flags = re.findall(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return bool(flags) and all(_BF16_FLAGS & set(line.split()) for line in flags)


def capabilities(told: str) -> tuple[tuple[int, int], ...]:
    """Lines such as 8.6 -> (8, 6). A GPU that does not tell counts as an old one."""
    found = [re.fullmatch(r"(\d+)\.(\d+)", line.strip()) for line in told.splitlines() if line.strip()]
    return tuple((int(match[1]), int(match[2])) if match else (0, 0) for match in found)
