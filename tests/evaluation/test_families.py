"""Kin go together, whatever a benchmark calls them; the unknown stand alone; the user's word goes first."""

import pytest

from clipfake.errors import UsageError
from clipfake.evaluation.families import FAMILIES, families, read_families


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("stylegan", ["stylegan", "stylegan1", "stylegan2", "StyleGAN3", "whichfaceisreal"]),
        ("stargan", ["star_gan", "stargan"]),
        ("progan", ["pro_gan", "progan"]),
        ("biggan", ["big_gan", "biggan"]),
        ("cyclegan", ["cycle_gan", "cyclegan", "pix2pix"]),
        ("gaugan", ["gau_gan", "gaugan"]),
        ("ddpm", ["ddpm", "denoising_diffusion", "guided", "adm"]),
        ("diffusion gan", ["diffusion_gan", "denoising_diffusion_gan"]),
        ("latent diffusion", ["stable_diffusion", "stable_diffusion_1_4", "latent_diffusion", "ldm_200_cfg", "sdv5"]),
        ("glide", ["glide", "glide_100_27"]),
        ("vq diffusion", ["vq_diffusion", "vqdm"]),
        ("vqgan", ["taming_transformer", "dalle"]),
    ],
)
def test_names_of_benchmarks(family, names):
    assert families(names) == dict.fromkeys(names, family)


def test_the_unknown_are_families_of_their_own_and_kin_only_in_name_stay_apart():
    names = ["", "gan", "styleflow", "face_synthetics", "materials", "sdf_render"]
    assert families(names) == {name: name for name in names}


def test_no_pattern_is_of_two_families():
    patterns = [pattern for several in FAMILIES.values() for pattern in several]
    assert len(patterns) == len(set(patterns))


def test_ones_own_go_before():
    own = read_families('{"mine": ["sd15_*", "pix2pix"]}')
    found = families(["sd15_deliberate2", "pix2pix", "cycle_gan"], own)
    assert found == {"sd15_deliberate2": "mine", "pix2pix": "mine", "cycle_gan": "cyclegan"}


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": [1]}'])
def test_what_is_no_families_is_refused(text):
    with pytest.raises(UsageError, match="--families"):
        read_families(text)
