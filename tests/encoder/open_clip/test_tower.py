import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clipfake.encoder.open_clip.tower import build_text_tower, build_tower, sha256_tower
from clipfake.errors import UsageError

ARCH = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def tower() -> torch.nn.Module:
    return build_tower(ARCH, None)


def test_random_weights_are_always_the_same(tower: torch.nn.Module) -> None:
    torch.manual_seed(123)
    assert sha256_tower(build_tower(ARCH, None)) == sha256_tower(tower)


def test_the_callers_random_numbers_go_on_undisturbed() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_tower(ARCH, None)
    assert torch.equal(torch.rand(3), expected)


def test_the_digest_sees_every_tensor() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2).bfloat16())
    before = sha256_tower(network)
    for name, tensor in network.state_dict().items():
        kept = tensor.clone()
        tensor.view(-1)[-1] += 1
        assert sha256_tower(network) != before, name
        tensor.copy_(kept)
    assert sha256_tower(network) == before
    assert sha256_tower(torch.nn.Sequential(*network, torch.nn.Identity())) == before
    assert sha256_tower(torch.nn.Sequential(torch.nn.Identity(), *network)) != before  # other names


def test_it_is_ready_for_inference_and_has_no_text_tower(tower: torch.nn.Module) -> None:
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not any("token_embedding" in name for name, _ in tower.named_parameters())


def test_both_kinds_of_files_hold_the_same_tower(checkpoints: dict[str, Path], tower: torch.nn.Module) -> None:
    digests = {sha256_tower(build_tower(ARCH, path)) for path in checkpoints.values()}
    assert len(digests) == 1
    assert sha256_tower(tower) not in digests


def test_bf16_has_weights_of_bf16(checkpoints: dict[str, Path]) -> None:
    tower = build_tower(ARCH, checkpoints[".safetensors"], "bf16")
    assert tower.state_dict()["conv1.weight"].dtype == torch.bfloat16
    assert tower.state_dict()["ln_post.weight"].dtype == torch.float32


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.marker,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"state_dict": {"x": torch.zeros(1)}, "note": Evil(marker)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil(marker)))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(UsageError, match="does not hold tensors only"):
            build_tower(ARCH, tmp_path / name)
    assert not marker.exists()


def cut(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:1_000_000])


def other_architecture(source: Path, target: Path) -> None:
    tensors = load_file(source)
    tensors["visual.conv1.weight"] = torch.zeros(8, 3, 16, 16)
    save_file(tensors, target)


def less(source: Path, target: Path) -> None:
    tensors = load_file(source)
    del tensors["visual.proj"]
    save_file(tensors, target)


def more(source: Path, target: Path) -> None:
    save_file(load_file(source) | {"visual.more": torch.zeros(1)}, target)


def empty(source: Path, target: Path) -> None:
    save_file({}, target)


def no_tensors(source: Path, target: Path) -> None:
    torch.save([1, 2, 3], target.with_suffix(".pt"))


def torchscript(source: Path, target: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(target.with_suffix(".pt")))


def garbage(source: Path, target: Path) -> None:
    target.with_suffix(".pt").write_bytes(b"\x93garbage" * 100)


@pytest.mark.filterwarnings("ignore:.*(TorchScript|torch.jit)")
@pytest.mark.parametrize("make", [cut, other_architecture, less, more, empty, no_tensors, torchscript, garbage])
def test_a_file_that_does_not_fit_is_one_line(make: Any, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    make(checkpoints[".safetensors"], tmp_path / "bad.safetensors")
    (bad,) = tmp_path.iterdir()
    with pytest.raises(UsageError) as caught:
        build_tower(ARCH, bad)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_architecture_that_needs_what_is_not_installed() -> None:
    with pytest.raises(UsageError, match=r"cannot build xlm-roberta-base-ViT-B-32 here: .*transformers"):
        build_text_tower("xlm-roberta-base-ViT-B-32", None)


def test_open_clip_is_quiet_and_the_root_logger_as_before(caplog: pytest.LogCaptureFixture) -> None:
    filters = list(logging.getLogger().filters)
    with caplog.at_level(logging.DEBUG):
        build_tower(ARCH, None)
        logging.getLogger().warning("ours")
    assert [record.message for record in caplog.records] == ["ours"]
    assert logging.getLogger().filters == filters
