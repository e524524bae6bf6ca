"""What a job may be told is checked at once, and what does nothing for an input is refused."""

import pytest

from clipfake.corpus.layouts import LayoutOptions
from clipfake.errors import UsageError
from clipfake.images.limits import Limits
from clipfake.options import refuse_idle
from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"views": -1}, "--views must lie between 0 and 16"),
        ({"views": 17}, "--views must lie between 0 and 16"),
        ({"conditions": ("blur", "fog-1")}, "no condition 'fog-1'"),
        ({"feature": "tokens"}, "the feature is 'tokens'"),
        ({"text": "{generator}"}, "may not use {generator}"),
        ({"allow_words": ("mat",)}, "give --text too"),
    ],
)
def test_options_are_checked_at_once(options, says):
    with pytest.raises(UsageError, match=says):
        EmbedOptions(**options)


@pytest.mark.parametrize(
    ("options", "manifest", "embeddings"),
    [
        (ScanOptions(), None, None),
        (ScanOptions(job=JobOptions(unit_rows=5, retry_errors=True, scale_to=2), image_only=True), None, None),
        (ScanOptions(layout="webdataset"), "--layout", "--layout"),
        (ScanOptions(listing=LayoutOptions(columns={"image": "jpg"})), None, "--columns"),
        (ScanOptions(listing=LayoutOptions(group_by="x", real=("a",))), "--real, --group-by", "--real, --group-by"),
        (ScanOptions(precision="bf16", job=JobOptions(batch_size=8)), None, "--precision, --batch-size"),
        (ScanOptions(limits=Limits(timeout_s=3.0)), None, "--decode-timeout"),
    ],
)
def test_what_does_nothing_for_an_input_is_refused_by_name(options, manifest, embeddings):
    refuse_idle(options, "corpus", "a corpus")
    for kind, idle in (("manifest", manifest), ("embeddings", embeddings)):
        if idle is None:
            refuse_idle(options, kind, "it")
        else:
            with pytest.raises(UsageError, match=rf"^{idle} (does|do) nothing for it: leave (it|them) out$"):
                refuse_idle(options, kind, "it")


def test_one_limit_of_bytes_holds_for_reading_and_for_decoding():
    options = ScanOptions(limits=Limits(max_bytes=123), bytes_column="jpg")
    assert (options.fetch.max_bytes, options.fetch.bytes_column) == (123, "jpg")
    described = options.described()
    assert described["fetch"]["max_bytes"] == described["limits"]["max_bytes"] == 123
    assert described["fetch"]["bytes_column"] == "jpg"
    assert set(described) == {"layout", "listing", "image_only", "decoder", "precision", "limits", "job", "fetch"}
