"""`clipfake encoder pack|show|fetch`: small files that hold an image tower, and what an encoder is."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table, say
from clipfake.cli.options import Json

BATCH = 32  # images, as a CPU takes them

encoder_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Pack, show or fetch an encoder.",
)


@encoder_app.command()
def pack(
    encoder: Annotated[str, typer.Argument(help="ARCH/TAG or ARCH/FILE of an open_clip vision transformer.")],
    out: Annotated[str, typer.Option(help="Path or URI of the file to write, a .safetensors.")],
    blocks: Annotated[int | None, typer.Option(help="Keep the first N blocks only.", min=1)] = None,
) -> None:
    """Write an image tower with int8 weights into one file. It has a quarter of the size, and no text tower."""
    from clipfake.encoder.packed.delivery import check_place, deliver
    from clipfake.encoder.packed.pack import pack as packed_of

    place = check_place(out)
    packed = packed_of(encoder, blocks)
    data = packed.to_bytes()
    deliver(data, place)
    say(f"{out}: {len(data):,} bytes; use it with --encoder {out}")
    print(packed.fingerprint)


@encoder_app.command()
def show(
    encoder: Annotated[str, typer.Argument(help="As --encoder of `clipfake embed`.")],
    feature: Annotated[str, typer.Option(help="projected, penultimate, or blocks:3,6,9,12.")] = "projected",
    decoder: Annotated[str, typer.Option(help="exact, or fast.")] = "exact",
    as_json: Json = False,
) -> None:
    """Show what an encoder is. Prints architecture, weights, preprocessing, fingerprint, memory on a CPU."""
    from clipfake.encoder import describe
    from clipfake.encoder.memory import parameters_of, peak_memory

    described = describe(encoder, feature, decoder)
    found = described.to_dict() | {
        "name": described.name,
        "family": described.family,
        "fingerprint": described.fingerprint,
        "trained": described.trained,
        "parameters": parameters_of(described),
        "memory": {name: peak_memory(described, name, BATCH) for name in ("fp32", "bf16")},
    }
    if as_json:
        print_json(found)
        return
    print_table(("", "encoder"), [(name, str(value)) for name, value in found.items()])


@encoder_app.command()
def fetch(
    encoder: Annotated[str, typer.Argument(help="clip-b16, or the place of a packed file.")],
    to: Annotated[str, typer.Option(help="Folder or .safetensors file to write, a path or URI.")],
) -> None:
    """Copy a packed encoder to a place of your own. Nodes that reach no model hub read it there."""
    from clipfake.encoder.packed.delivery import fetch as bring

    place = bring(encoder, to)
    say(f"use it with --encoder {place}")
    print(place)
