import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clipfake.encoder import describe, load
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.test_card import TOLERANCE, card_pixels
from clipfake.encoder.tower_encoder import TowerEncoder, ahead
from clipfake.errors import ClipfakeError, UsageError
from clipfake.images.preprocess import preprocess

ARCH = "ViT-S-32-alt"
DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def description() -> EncoderDescription:
    return describe(f"{ARCH}/untrained")


@pytest.fixture(scope="module")
def encoder(description: EncoderDescription) -> TowerEncoder:
    return load(description, batch_size=4)


@pytest.fixture(scope="module")
def pixels(description: EncoderDescription, pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([preprocess(picture, description.preprocess) for picture in pictures])


def by_open_clip(arch: str, pictures: list[Image.Image], weights: Path | None = None) -> np.ndarray:
    """The embeddings as open_clip's own code makes them, with the seed of untrained weights."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model, _, transform = open_clip.create_model_and_transforms(arch, pretrained=str(weights) if weights else None)
        features = model.eval().encode_image(torch.stack([transform(picture) for picture in pictures]))
        return torch.nn.functional.normalize(features, dim=-1).numpy()


def embeddings(encoder: TowerEncoder, pictures: list[Image.Image]) -> np.ndarray:
    return encoder.encode(np.stack([preprocess(picture, encoder.description.preprocess) for picture in pictures]))


@pytest.mark.parametrize(
    "arch",
    [
        ARCH,
        pytest.param("RN50", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
    ],
)
def test_embeddings_are_open_clips_own(arch: str, pictures: list[Image.Image]) -> None:
    encoder = load(f"{arch}/untrained", batch_size=3)
    found = embeddings(encoder, pictures)
    assert found.shape == (len(pictures), encoder.description.dim)
    assert found.dtype == encoder.dtype == np.float32
    np.testing.assert_allclose(found, by_open_clip(arch, pictures), rtol=0, atol=1e-5)


def test_and_on_photographs(encoder: TowerEncoder) -> None:
    files = sorted(DATA.glob("crawl/**/*.jpg"))[::25]
    if not files:
        pytest.skip("no images in ../shared/data")
    photographs = [Image.open(file).convert("RGB") for file in files]
    found = embeddings(encoder, photographs)
    np.testing.assert_allclose(found, by_open_clip(ARCH, photographs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_and_with_weights_from_a_file(
    suffix: str, checkpoints: dict[str, Path], pictures: list[Image.Image], pixels: np.ndarray, encoder: TowerEncoder
) -> None:
    loaded = load(f"{ARCH}/{checkpoints[suffix]}", batch_size=8)
    assert loaded.description.weights == f"model{suffix}"
    assert loaded.description.trained
    found = loaded.encode(pixels)
    np.testing.assert_allclose(found, by_open_clip(ARCH, pictures, checkpoints[suffix]), rtol=0, atol=1e-5)
    assert np.abs(found - encoder.encode(pixels)).max() > 0.01  # not the untrained ones


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_batch_size_does_not_matter(
    batch_size: int, description: EncoderDescription, encoder: TowerEncoder, pixels: np.ndarray
) -> None:
    other = TowerEncoder(encoder._tower, description, "fp32", "cpu", batch_size)
    np.testing.assert_allclose(other.encode(pixels), encoder.encode(pixels), rtol=0, atol=1e-6)


def test_neighbours_do_not_matter_at_all(encoder: TowerEncoder, pixels: np.ndarray) -> None:
    together = encoder.encode(pixels)
    for row in (0, 5, 9):
        assert np.array_equal(encoder.encode(pixels[row : row + 1])[0], together[row])


def test_rows_have_length_one(encoder: TowerEncoder, pixels: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(pixels), axis=1), 1, atol=1e-6)


def test_no_pixels_no_embeddings(encoder: TowerEncoder, pixels: np.ndarray) -> None:
    assert encoder.encode(pixels[:0]).shape == (0, encoder.description.dim)


def test_read_only_and_strided_pixels_will_do(encoder: TowerEncoder, pixels: np.ndarray) -> None:
    frozen = np.frombuffer(pixels[::2].tobytes(), np.uint8).reshape(-1, *pixels.shape[1:])
    assert np.array_equal(encoder.encode(frozen), encoder.encode(pixels[::2]))


@pytest.mark.parametrize(
    "change", [lambda p: p.astype(np.float32), lambda p: p[0], lambda p: p[:, :-1], lambda p: p.transpose(0, 3, 1, 2)]
)
def test_other_pixels_are_refused(
    change: Callable[[np.ndarray], np.ndarray], encoder: TowerEncoder, pixels: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="not uint8"):
        encoder.encode(change(pixels))


CPU = torch.device("cpu")


def test_a_batch_is_made_while_the_one_before_it_is_in_use() -> None:
    begun = [threading.Event() for _ in range(4)]

    def made() -> Iterator[tuple[torch.Tensor, int]]:
        for i, event in enumerate(begun):
            event.set()
            yield torch.zeros(1), i

    for (_, i), following in zip(ahead(made(), CPU), [*begun[1:], None], strict=True):
        assert following is None or following.wait(60)
        assert not any(event.is_set() for event in begun[i + 2 :])  # and not the one after the next: memory is bounded


def test_what_making_a_batch_raises_comes_in_its_turn() -> None:
    def made() -> Iterator[tuple[torch.Tensor, int]]:
        yield torch.zeros(1), 1
        raise ClipfakeError("no more")

    batches = ahead(made(), CPU)
    assert next(batches)[1] == 1
    with pytest.raises(ClipfakeError, match="no more"):
        next(batches)


class Network(torch.nn.Module):
    """Features of one value a row: those given, then ones."""

    def __init__(self, values: list[float], dim: int) -> None:
        super().__init__()
        self.values, self.dim = values, dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.ones(len(images), self.dim, dtype=images.dtype)
        for row, value in enumerate(self.values):
            features[row, 1] = value
        return features


def test_only_the_row_that_is_not_finite_is_nan(description: EncoderDescription, pixels: np.ndarray) -> None:
    network = Network([np.nan, 1, np.inf, -np.inf], description.dim)
    encoder = TowerEncoder(network, description, "fp32", "cpu", batch_size=8)
    found = encoder.encode(pixels[:5])
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, True, False]
    assert np.isfinite(found[[1, 4]]).all()


def test_a_vector_of_zeros_is_nan(description: EncoderDescription, pixels: np.ndarray) -> None:
    class Zeros(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * 0

    encoder = TowerEncoder(Zeros([], description.dim), description, "fp32", "cpu", batch_size=8)
    assert np.isnan(encoder.encode(pixels[:2])).all()


def test_the_first_of_coca_s_two_outputs_is_the_feature(encoder: TowerEncoder, pixels: np.ndarray) -> None:
    class Pair(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return encoder._tower(images), torch.zeros(len(images), 49, 256)

    coca = TowerEncoder(Pair(), encoder.description, "fp32", "cpu", encoder.batch_size)
    assert np.array_equal(coca.encode(pixels[:2]), encoder.encode(pixels[:2]))


def test_a_network_of_another_width_is_no_row_but_an_error(description: EncoderDescription, pixels: np.ndarray) -> None:
    encoder = TowerEncoder(Network([], description.dim + 1), description, "fp32", "cpu", batch_size=2)
    with pytest.raises(ClipfakeError, match="features"):
        encoder.encode(pixels[:2])


def test_bf16_is_stored_as_float16_and_near_fp32(
    description: EncoderDescription, encoder: TowerEncoder, pixels: np.ndarray
) -> None:
    half = load(description, precision="bf16", batch_size=4)
    found = half.encode(pixels)
    assert found.dtype == half.dtype == np.float16
    cosine = (found.astype(np.float32) * encoder.encode(pixels)).sum(axis=1)
    assert cosine.min() > 0.999
    card = half.test_card_embedding()
    assert card.dtype == np.float32
    assert 0 < np.abs(card - encoder.test_card_embedding()).max() <= TOLERANCE["bf16"]


def test_the_test_card_is_embedded_alike_by_every_batch_size(
    description: EncoderDescription, encoder: TowerEncoder
) -> None:
    found = TowerEncoder(encoder._tower, description, "fp32", "cpu", batch_size=1).test_card_embedding()
    assert found.shape == (description.dim,)
    assert np.abs(found - encoder.test_card_embedding()).max() <= TOLERANCE["fp32"] / 10


@pytest.mark.parametrize(
    "change",
    [
        {"interpolation": "bilinear"},
        {"resize_mode": "squash"},
        {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    ],
)
def test_the_test_card_shows_other_preprocessing(change: dict, encoder: TowerEncoder) -> None:
    other = replace(encoder.description, preprocess=replace(encoder.description.preprocess, **change))
    changed = TowerEncoder(encoder._tower, other, "fp32", "cpu", 1).test_card_embedding()
    assert np.abs(changed - encoder.test_card_embedding()).max() > 10 * TOLERANCE["fp32"]


def test_the_test_card_shows_other_weights(checkpoints: dict[str, Path], encoder: TowerEncoder) -> None:
    other = load(f"{ARCH}/{checkpoints['.pt']}", batch_size=1).test_card_embedding()
    assert np.abs(other - encoder.test_card_embedding()).max() > TOLERANCE["bf16"]


def test_the_test_card_goes_the_way_of_all_pixels(encoder: TowerEncoder) -> None:
    card = card_pixels(encoder.description.preprocess)[None]
    assert np.array_equal(encoder.encode(card)[0], encoder.test_card_embedding())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"precision": "int8"}, "fp32, bf16, fp16"),
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"batch_size": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_had_is_one_line(options: dict, says: str, description: EncoderDescription) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load(description, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_is_one_line(description: EncoderDescription) -> None:
    with pytest.raises(UsageError, match="finds no GPU"):
        load(description, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_gives_the_same(precision: Precision, description: EncoderDescription, encoder: TowerEncoder) -> None:
    card = load(description, precision=precision, device="cuda").test_card_embedding()
    assert np.abs(card - encoder.test_card_embedding()).max() <= TOLERANCE[precision]


@pytest.mark.parametrize("arch", [ARCH, pytest.param("RN50", marks=pytest.mark.slow)])
def test_the_fast_decoder_moves_an_embedding_less_than_a_thousandth(arch: str, pictures: list[Image.Image]) -> None:
    encoder = load(describe(f"{arch}/untrained", decoder="fast"), batch_size=3)
    exact, fast = (
        encoder.encode(np.stack([preprocess(picture, encoder.description.preprocess, name) for picture in pictures]))
        for name in ("exact", "fast")
    )
    assert 0 < np.abs(exact - fast).max() < 1e-3


def test_the_decoder_is_part_of_the_encoder(description: EncoderDescription) -> None:
    fast = describe(f"{ARCH}/untrained", decoder="fast")
    assert replace(fast, decoder="exact") == description
    assert fast.fingerprint != description.fingerprint and fast.differences(description) == ["decoder"]
    assert EncoderDescription.from_json(fast.to_json()) == fast
    assert load(fast).description == fast
    with pytest.raises(UsageError, match="decoder is 'draft'"):
        describe(f"{ARCH}/untrained", decoder="draft")


def test_the_test_card_goes_through_the_encoders_decoder(encoder: TowerEncoder) -> None:
    fast = TowerEncoder(encoder._tower, replace(encoder.description, decoder="fast"), "fp32", "cpu", 4)
    card = card_pixels(encoder.description.preprocess, "fast")
    assert not np.array_equal(card, card_pixels(encoder.description.preprocess))
    assert np.array_equal(fast.encode(card[None])[0], fast.test_card_embedding())
