"""What a job may be told is checked before it starts."""

import pytest

from clipfake.errors import UsageError
from clipfake.scoring.job import JobOptions


@pytest.mark.parametrize("name", ["unit_rows", "batch_size", "num_cpus", "encoders_per_gpu", "scale_to"])
def test_counts_start_at_one(name):
    JobOptions(**{name: 1})
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must .* 1.*, not 0"):
        JobOptions(**{name: 0})


def test_so_many_encoders_no_gpu_holds():
    JobOptions(encoders_per_gpu=64)
    with pytest.raises(UsageError, match="--encoders-per-gpu must lie between 1 and 64, not 65"):
        JobOptions(encoders_per_gpu=65)
