"""A bundle comes back as it was saved, its fingerprint covers what scores and nothing else, and damage is refused."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.unfamiliarity import Reference
from clipfake.errors import ClipfakeError, UsageError
from clipfake.measures.thresholds import Threshold

DIM = 12


class Folder(dict):
    """A store in memory that remembers the order of its writes."""

    def read_bytes(self, name):
        try:
            return self[name]
        except KeyError:
            raise FileNotFoundError(f"{name} is not there") from None

    def write_bytes(self, name, data):
        self[name] = data


@pytest.fixture
def detector():
    random = np.random.default_rng(0)
    vectors = torch.nn.functional.normalize(torch.tensor(random.normal(size=(9, 8)).astype(np.float32)), dim=1)
    return Detector(
        encoder={"arch": "ViT-S-32-alt", "weights": "untrained"},
        encoder_fingerprint="e" * 64,
        head=init_head(DIM, 8, 0, random.normal(size=(50, DIM))),
        classifier=KernelSvm(vectors, torch.tensor(random.normal(size=9)), 0.25, 1.5),
        calibrator=Sigmoid(-1.5, 0.1),
        thresholds=(Threshold(0.05, 0.2, 1100), Threshold(0.01, 0.9, 1100)),
        test_card=random.normal(size=DIM).astype(np.float32),
        reference=Reference(
            torch.nn.functional.normalize(torch.tensor(random.normal(size=(5, DIM)).astype(np.float32)), dim=1),
            np.sort(random.random(7)),
        ),
        test_card_tolerance={"fp32": 1e-4, "bf16": 2e-2},
        metrics={"test": {"auc": 0.9, "tpr_at_fpr": {"0.001": None}}},
        baseline={"test": {"auc": 0.8}},
        provenance={"created_at": "2026-11-20", "versions": {"torch": "1.0", "numpy": np.__version__}},
    )


@pytest.fixture
def folder(detector):
    detector.save(folder := Folder())
    return folder


def embeddings(n=40, dtype=np.float16):
    return np.random.default_rng(5).normal(size=(n, DIM)).astype(dtype)


def test_it_comes_back_as_it_was_saved(detector, folder):
    loaded = Detector.load(folder)
    assert loaded.fingerprint == detector.fingerprint
    for one, two in zip(detector.score(embeddings()), loaded.score(embeddings()), strict=True):
        np.testing.assert_array_equal(one, two)
    for name in ("encoder", "metrics", "baseline", "provenance", "thresholds", "calibrator", "test_card_tolerance"):
        assert getattr(loaded, name) == getattr(detector, name)
    np.testing.assert_array_equal(loaded.test_card, detector.test_card)
    loaded.save(again := Folder())
    assert again == folder


def test_further_decoders_come_back_and_change_no_fingerprint(detector):
    cards = [detector.test_card + i for i in (1, 2)]
    fast, gpu = (
        FurtherDecoder("fast", 4_000, 3, 0.02, "fp32", cards[0]),
        FurtherDecoder("gpu-1", 9_000, 0, 0.0, "bf16", cards[1]),
    )
    listing = replace(detector, decoders=(fast, gpu))
    listing.save(folder := Folder())
    loaded = Detector.load(folder)
    assert loaded.fingerprint == detector.fingerprint
    assert [one.described() for one in loaded.decoders] == [fast.described(), gpu.described()]
    np.testing.assert_array_equal([one.test_card for one in loaded.decoders], cards)
    loaded.save(again := Folder())
    assert again == folder
    for damage, says in (
        (edit(["decoders", 0, "changed"], 2), "changed after"),
        (edit(["decoders", 0, "changed"], 5), "did not pass"),
        (edit(["decoders", 1, "decoder"], "fast"), "arrays"),
        (rewrite("decoders.fast.test_card", lambda a: a + 1e-6), "changed after"),
        (rewrite("decoders.fast.test_card", lambda a: a[1:].clone()), "test card"),
    ):
        damage(damaged := Folder(folder))
        with pytest.raises(UsageError, match=says):
            Detector.load(damaged)
    for wrong in ((fast, fast), (replace(fast, images=2_000),)):
        with pytest.raises(ClipfakeError, match="decoder is listed"):
            replace(detector, decoders=wrong).save(Folder())


def test_the_readable_file_is_written_last_and_can_be_read(folder):
    assert list(folder) == ["detector.safetensors", "detector.json"]
    text = folder["detector.json"].decode()
    assert json.loads(text)["schema_version"] == 2
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert len(text.splitlines()) > 20


def test_what_is_no_number_is_null_where_it_does_not_score(detector):
    history = [{"folder": "not UTF-8: \udcff", "loss": np.float64("nan"), "active": float("inf")}]
    replace(detector, provenance={"history": history}, metrics={"auc": float("nan")}).save(folder := Folder())
    loaded = Detector.load(folder)
    assert loaded.provenance == {"history": [{"folder": "not UTF-8: \udcff", "loss": None, "active": None}]}
    assert loaded.metrics == {"auc": None}


def test_a_detector_that_cannot_score_is_not_saved(detector):
    folder = Folder()
    for change in ({"calibrator": Sigmoid(float("nan"), 0)}, {"test_card": detector.test_card[1:]}):
        with pytest.raises(ClipfakeError, match="nothing was saved"):
            replace(detector, **change).save(folder)
    assert not folder


def test_scores_follow_from_the_parts(detector):
    x = embeddings(dtype=np.float32)
    decision, probability, verdict, unfamiliarity = detector.score(x)
    vectors = detector.head(torch.tensor(x)).detach().numpy().astype(np.float64)
    squared = ((vectors[:, None] - detector.classifier.support_vectors.numpy()[None].astype(np.float64)) ** 2).sum(-1)
    expected = np.exp(-1.5 * squared) @ detector.classifier.dual_coef.numpy() + 0.25
    np.testing.assert_allclose(decision, expected, atol=1e-6)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-1.5 * expected + 0.1)), atol=1e-6)
    assert verdict == ["fake" if f >= 0.9 else "real" if f < 0.2 else "unsure" for f in decision]
    np.testing.assert_array_equal(unfamiliarity, detector.reference.unfamiliarity(torch.tensor(x)))
    assert 0 < unfamiliarity.mean() < 1
    assert {decision.dtype, probability.dtype, unfamiliarity.dtype} == {np.dtype(np.float64)}


def test_read_only_and_no_embeddings(detector):
    x = embeddings()
    x.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(detector.to("cpu").score(x).verdict) == 40
    assert [len(column) for column in detector.score(embeddings(0))] == [0, 0, 0, 0]


def changed_head(detector):
    head = init_head(DIM, 8, 0)
    head.load_state_dict(detector.head.state_dict())
    head.linear.bias.data[0] += 1e-3
    return head


@pytest.mark.parametrize(
    "change",
    [
        lambda d: {"encoder_fingerprint": "f" * 64},
        lambda d: {"head": changed_head(d)},
        lambda d: {"classifier": replace(d.classifier, gamma=1.6)},
        lambda d: {"classifier": replace(d.classifier, intercept=0.2)},
        lambda d: {"classifier": replace(d.classifier, dual_coef=d.classifier.dual_coef.flip(0))},
        lambda d: {"classifier": replace(d.classifier, support_vectors=d.classifier.support_vectors.flip(0))},
        lambda d: {"calibrator": Sigmoid(-1.5, 0.2)},
        lambda d: {"calibrator": Temperature(0.75)},
        lambda d: {"thresholds": d.thresholds[:1]},
        lambda d: {"reference": None},
        lambda d: {"reference": replace(d.reference, points=d.reference.points.flip(0))},
        lambda d: {"reference": replace(d.reference, quantiles=d.reference.quantiles * 0.9)},
    ],
)
def test_the_fingerprint_covers_what_scores(detector, change):
    assert replace(detector, **change(detector)).fingerprint != detector.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {}},
        {"baseline": {}},
        {"provenance": {"created_at": "2027-01-01", "corpus": "/elsewhere"}},
        {"encoder": {"arch": "ViT-S-32-alt", "weights": "renamed.safetensors"}},
    ],
)
def test_the_fingerprint_covers_nothing_else(detector, change):
    assert replace(detector, **change).fingerprint == detector.fingerprint


def edit(path, value):
    """A detector.json with the entry at `path` replaced, or taken out where the value is None."""

    def apply(folder):
        description = json.loads(folder["detector.json"])
        place = description
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        folder["detector.json"] = json.dumps(description).encode()

    return apply


def rewrite(name, change):
    """A detector.safetensors with one array changed, or taken out."""

    def apply(folder):
        arrays = safetensors.torch.load(folder["detector.safetensors"])
        array = change(arrays.pop(name))
        folder["detector.safetensors"] = safetensors.torch.save(arrays if array is None else arrays | {name: array})

    return apply


def put(name, data):
    return lambda folder: folder.update({name: data})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: folder.pop("detector.json"), "clipfake train"),
        (lambda folder: folder.pop("detector.safetensors"), "clipfake train"),
        (put("detector.json", b"{"), "damaged"),
        (put("detector.json", b"[]"), "damaged"),
        (put("detector.json", b"\xff\xfe"), "damaged"),
        (put("detector.safetensors", b"\x80\x04pickle"), "damaged"),
        (edit(["schema_version"], 4), "schema version 4"),
        (edit(["schema_version"], 3), "damaged"),
        (edit(["schema_version"], 1), "not of schema version 1"),
        (edit(["schema_version"], [2]), "damaged"),
        (edit(["contents_sha256"], None), "contents_sha256"),
        (edit(["metrics", "test", "auc"], 0.99), "changed after"),
        (edit(["test_card_tolerance", "fp32"], 10.0), "changed after"),
        (edit(["provenance", "created_at"], "2027-01-01"), "changed after"),
        (rewrite("test_card", lambda a: a + 1e-6), "changed after"),
        (edit(["schema_version"], None), "schema_version"),
        (edit(["fingerprint"], "0" * 64), "fingerprint"),
        (edit(["encoder_fingerprint"], "0" * 64), "fingerprint"),
        (edit(["svm", "kernel"], "linear"), "unknown"),
        (edit(["svm", "gamma"], 1.6), "fingerprint"),
        (edit(["svm", "gamma"], -1.5), "positive"),
        (edit(["svm", "gamma"], float("nan")), "NaN"),
        (edit(["svm", "gamma"], 1e999), "Infinity"),
        (put("detector.json", b'{"schema_version": 1, "svm": 1e999}'), "damaged"),
        (edit(["thresholds", 0, "reals"], 10**400), "damaged"),
        (edit(["thresholds", 0, "reals"], "many"), "damaged"),
        (edit(["calibrator", "method"], "platt"), "unknown"),
        (edit(["calibrator", "method"], "isotonic"), "decisions"),
        (edit(["calibrator"], {"method": "temperature", "inverse_temperature": 0.7}), "fingerprint"),
        (edit(["calibrator"], {"method": "temperature", "inverse_temperature": -1.0}), "falls"),
        (edit(["calibrator", "a"], None), "damaged"),
        (edit(["calibrator", "a"], "steep"), "damaged"),
        (edit(["thresholds", 0, "decision"], 0.1), "fingerprint"),
        (edit(["thresholds", 0, "decision"], 5.0), "thresholds fall"),
        (edit(["thresholds", 0, "fpr"], 0.01), "twice"),
        (edit(["thresholds"], 7), "damaged"),
        (edit(["test_card_tolerance"], []), "damaged"),
        (rewrite("svm.dual_coef", lambda a: a + 1e-9), "fingerprint"),
        (rewrite("svm.dual_coef", lambda a: a[:-1]), "fit the support vectors"),
        (rewrite("svm.dual_coef", lambda a: a.float()), "float32"),
        (rewrite("svm.dual_coef", lambda a: a[0].clone()), "damaged"),
        (rewrite("svm.support_vectors", lambda a: a.half()), "float16"),
        (rewrite("svm.support_vectors", lambda a: a[:, 1:].contiguous()), "fit the head"),
        (rewrite("svm.support_vectors", lambda a: a * torch.nan), "not finite"),
        (rewrite("head.scale", lambda a: -a), "positive"),
        (rewrite("head.scale", lambda a: None), "damaged"),
        (rewrite("head.centre", lambda a: a[1:].clone()), "damaged"),
        (rewrite("head.linear.weight", lambda a: None), "damaged"),
        (rewrite("test_card", lambda a: a[1:].clone()), "test card"),
        (rewrite("test_card", lambda a: None), "arrays"),
        (rewrite("reference.points", lambda a: None), "damaged"),
        (rewrite("reference.points", lambda a: a.flip(0)), "fingerprint"),
        (rewrite("reference.points", lambda a: a * 2), "reference points"),
        (rewrite("reference.points", lambda a: a[:, 1:].contiguous()), "reference points"),
        (rewrite("reference.points", lambda a: a[:0].clone()), "reference points"),
        (rewrite("reference.quantiles", lambda a: a.flip(0)), "reference points"),
        (rewrite("reference.quantiles", lambda a: a.float()), "float32"),
        (rewrite("reference.quantiles", lambda a: None), "damaged"),
    ],
)
def test_damage_is_refused_in_one_line(folder, damage, says):
    damage(folder)
    with pytest.raises(UsageError) as refused:
        Detector.load(folder)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture(params=["sigmoid", "isotonic"])
def kept(request, detector):
    """(detector, its files): with each kind of calibration that lies elsewhere in them."""
    if request.param == "isotonic":
        detector = replace(detector, calibrator=Isotonic(np.array([-1.0, 0, 2]), np.array([0.0, 0.25, 1])))
    detector.save(folder := Folder())
    return detector, folder


def same_or_refused(detector, folder):
    try:
        loaded = Detector.load(folder)
    except UsageError as refused:
        assert "\n" not in str(refused)
        return
    assert loaded.fingerprint == detector.fingerprint
    for one, two in zip(loaded.score(embeddings()), detector.score(embeddings()), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (loaded.metrics, loaded.provenance) == (detector.metrics, detector.provenance)
    assert loaded.test_card_tolerance == detector.test_card_tolerance


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["detector.json", "detector.safetensors"]), st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_changes_anything_unnoticed(kept, name, position, flip):
    detector, folder = kept
    data = bytearray(folder[name])
    data[position % len(data)] ^= flip
    same_or_refused(detector, Folder(folder | {name: bytes(data)}))


def paths(value, path=()):
    """The path of every entry of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from paths(entry, (*path, key))


def test_no_entry_and_no_array_can_be_dropped(kept):
    _, folder = kept
    for path in paths(json.loads(folder["detector.json"])):
        changed = Folder(folder)
        edit(path, None)(changed)
        with pytest.raises(UsageError):
            Detector.load(changed)
    for name in safetensors.torch.load(folder["detector.safetensors"]):
        changed = Folder(folder)
        rewrite(name, lambda array: None)(changed)
        with pytest.raises(UsageError):
            Detector.load(changed)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.data(),
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.integers()),
)
def test_no_entry_can_be_replaced_unnoticed(kept, data, value):
    detector, folder = kept
    path = data.draw(st.sampled_from(list(paths(json.loads(folder["detector.json"])))))
    changed = Folder(folder)
    description = json.loads(changed["detector.json"])
    place = description
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    changed["detector.json"] = json.dumps(description).encode()
    same_or_refused(detector, changed)


def test_every_calibration_comes_back(detector):
    x = embeddings()
    for calibrator in (Temperature(0.4), Isotonic(np.array([-1.0, 0.5]), np.array([0.125, 0.875]))):
        kept = replace(detector, calibrator=calibrator)
        kept.save(folder := Folder())
        np.testing.assert_array_equal(Detector.load(folder).score(x).probability, kept.score(x).probability)
    for wrong in (
        Isotonic(np.array([0.5, -1.0]), np.array([0.125, 0.875])),
        Isotonic(np.array([0.5, 1.0]), np.array([0.9, 0.8])),
        Isotonic(np.array([0.5, 1.0]), np.array([0.9, 1.8])),
        Isotonic(np.array([0.5, 1.0]), np.array([0.9])),
    ):
        with pytest.raises(ClipfakeError, match="calibration"):
            replace(detector, calibrator=wrong).save(Folder())


V1 = Path(__file__).with_name("v1")  # written by clipfake 0.1.0


@pytest.fixture
def old():
    return Folder({name: (V1 / name).read_bytes() for name in ("detector.json", "detector.safetensors")})


def test_a_bundle_of_version_1_scores_as_it_did_under_its_fingerprint(old):
    expected = json.loads((V1 / "scores.json").read_text())
    detector = Detector.load(old)
    assert detector.fingerprint == expected["fingerprint"]
    scores = detector.score(embeddings(8, np.float32))
    np.testing.assert_allclose(scores.decision, expected["decision"], atol=detector.classifier.tolerance)
    np.testing.assert_allclose(scores.probability, expected["probability"], atol=1e-4)
    assert scores.verdict == expected["verdict"]
    assert np.isnan(scores.unfamiliarity).all()
    detector.save(again := Folder())
    assert again == old


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_no_flipped_bit_of_version_1_changes_a_score_unnoticed(old, position, bit):
    data = bytearray(old["detector.safetensors"])
    data[position % len(data)] ^= 1 << bit
    try:
        loaded = Detector.load(Folder(old | {"detector.safetensors": bytes(data)}))
    except UsageError:
        return
    assert loaded.score(embeddings()).decision.tolist() == Detector.load(old).score(embeddings()).decision.tolist()


def test_another_encoder_is_refused(detector):
    detector.check_encoder("e" * 64)
    with pytest.raises(UsageError, match="ViT-S-32-alt/untrained") as refused:
        detector.check_encoder("f" * 64)
    assert "e" * 12 in str(refused.value)


def test_a_test_card_that_comes_out_otherwise_is_refused_and_says_what_changed(detector):
    card = detector.test_card
    detector.check_test_card(card + 5e-5, "fp32")
    detector.check_test_card((card + 1e-2).astype(np.float16), "bf16")
    with pytest.raises(UsageError, match=r"torch was 1\.0 and is 2") as refused:
        detector.check_test_card(card + 1e-2, "fp32")
    assert "numpy" not in str(refused.value)
    for wrong in (card * np.nan, card[:-1]):
        with pytest.raises(UsageError, match="test card"):
            detector.check_test_card(wrong, "fp32")
    with pytest.raises(UsageError, match="--precision"):
        detector.check_test_card(card, "fp16")


def test_a_card_that_changed_without_a_library_points_at_the_weights(detector):
    with pytest.raises(UsageError, match="check weights and preprocessing"):
        replace(detector, provenance={}).check_test_card(detector.test_card + 1, "fp32")
    with pytest.raises(UsageError, match="gone was 1 and is not installed"):
        replace(detector, provenance={"versions": {"gone": "1"}}).check_test_card(detector.test_card + 1, "fp32")


@pytest.mark.slow
def test_loading_and_scoring_import_no_scikit_learn(folder, tmp_path):
    for name, data in folder.items():
        (tmp_path / name).write_bytes(data)
    code = f"""
import sys, pathlib, numpy
from clipfake.detector.bundle import Detector
class Folder:
    def read_bytes(self, name): return pathlib.Path({str(tmp_path)!r}, name).read_bytes()
Detector.load(Folder()).score(numpy.zeros((2, {DIM}), numpy.float32))
print([name for name in ("sklearn", "scipy", "ray", "open_clip") if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
