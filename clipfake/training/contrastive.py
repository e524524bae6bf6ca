"""Training a small CLIP, by open_clip's contrastive loss, on images and captions that the project makes itself."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipfake.images.synthetic.options import GROUP
from clipfake.training.pretrain_options import PretrainOptions

if TYPE_CHECKING:
    from PIL.Image import Image

REPORT_STEPS = 100  # between checkpoints
WARMUP_STEPS = 100
CLIP_NORM = 1.0


def fit_clip(
    options: PretrainOptions, rank: int = 0, world: int = 1, saved: dict[str, Any] | None = None,
    report: Callable[[dict[str, float], dict[str, Any]], None] | None = None,
) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:  # fmt: skip
    """Worker `rank` of `world` trains; with more than one there is a process group. Needs no Ray.

    Returns the model's state and the history. saved : a state to go on from; report : is given the last figures and
    such a state every REPORT_STEPS steps.
    """
    import torch
    from open_clip.loss import ClipLoss
    from torch.nn.parallel import DistributedDataParallel

    from clipfake.encoder.open_clip.models import open_clip
    from clipfake.encoder.open_clip.tower import quiet

    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the loaders have the other cores
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = open_clip.create_model(options.arch, device=device, pretrained_text=False)
        _begin_with_residuals(model)
        model = model.to(memory_format=torch.channels_last)  # as the images come; a third faster on CPU
    wrapped: Any = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.AdamW(_parameter_groups(model, options.weight_decay), lr=0.0, betas=(0.9, 0.98))
    loss_of = ClipLoss(local_loss=world > 1, gather_with_grad=world > 1, rank=rank, world_size=world)
    history: list[dict[str, float]] = []
    step = 0
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history, step = saved["history"], saved["step"]
    recent: list[tuple[float, float]] = []
    began = time.monotonic()
    wrapped.train()
    for images, tokens in _batches(options, rank, world, step):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _schedule(step, options.steps)
        image, text, scale = wrapped(images.to(device), tokens.to(device))[:3]
        loss = loss_of(image, text, scale)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        recent.append((loss.item(), _told_apart(image, text)))
        step += 1
        if step % REPORT_STEPS == 0 or step == options.last:
            means = np.mean(recent, axis=0).tolist()
            speed = options.batch * len(recent) / (time.monotonic() - began)
            history.append({"step": step, "loss": means[0], "told_apart": means[1], "images_per_second": speed})
            recent, began = [], time.monotonic()
            if report is not None:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                report(history[-1], state | {"history": history, "step": step})
    return {name: value.cpu().numpy() for name, value in model.state_dict().items()}, history


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to 0: the factor of the learning rate."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _told_apart(image: Any, text: Any) -> float:
    """The share of images that lie nearer to their own caption than to that of their counterpart, a photograph's
    re-synthesis or the other way round."""
    import torch

    with torch.no_grad():
        similarity = image @ text.T
        own = torch.arange(len(image), device=similarity.device)
        return (similarity[own, own] > similarity[own, own ^ 1]).float().mean().item()


def _parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases, norms, embeddings and the temperature do not."""
    named = list(model.named_parameters())
    decays = [parameter.ndim > 1 and "embedding" not in name for name, parameter in named]
    return [
        {"params": [p for (_, p), decay in zip(named, decays, strict=True) if decay == wanted], "weight_decay": amount}
        for wanted, amount in ((True, weight_decay), (False, 0.0))
    ]


def _begin_with_residuals(model: Any) -> None:
    """The image tower's first convolution begins with kernels of mean 0 in each channel: it sees differences between
    neighbouring pixels, where traces are, before it sees colours (as in Bayar and Stamm 2016; here it may leave that).
    """
    import torch

    first = next((module for module in model.visual.modules() if isinstance(module, torch.nn.Conv2d)), None)
    if first is not None:
        with torch.no_grad():
            first.weight -= first.weight.mean((2, 3), keepdim=True)


def _batches(options: PretrainOptions, rank: int, world: int, first: int) -> Iterator[tuple[Any, Any]]:
    """This worker's parts of the batches from step `first` on: normalised images (n, 3, H, W) and tokens (n, context).

    Pair number i is the same whoever makes it and whenever.
    """
    import torch
    from torch.utils.data import DataLoader, SequentialSampler

    groups = options.batch // GROUP // world

    class Mine(SequentialSampler):
        def __iter__(self) -> Iterator[int]:
            for step in range(first, options.last):
                start = (step * world + rank) * groups
                yield from range(start, start + groups)

        def __len__(self) -> int:
            return (options.last - first) * groups

    data: Any = Pairs(options)
    loader: Any = DataLoader(
        data, groups, sampler=Mine(data), num_workers=options.loaders, collate_fn=data.collate,
        prefetch_factor=4 if options.loaders else None, worker_init_fn=_one_thread,
    )  # fmt: skip
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (data.preprocess.mean, data.preprocess.std))
    for pixels, tokens in loader:
        yield pixels.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std), tokens


class Pairs:
    """GROUP images and captions an index, as torch's Dataset wants them."""

    def __init__(self, options: PretrainOptions) -> None:
        from clipfake.encoder.open_clip.family import preprocess_of
        from clipfake.encoder.open_clip.models import open_clip
        from clipfake.encoder.spec import EncoderSpec
        from clipfake.encoder.weights import cache_folder
        from clipfake.images.synthetic.pairs import sources

        self.options = options
        encoders = preprocess_of(EncoderSpec.parse(f"{options.arch}/untrained"))
        whole = min(encoders.size)
        side = min(options.crop or whole, whole)
        self.part, self.preprocess = side / whole, replace(encoders, size=(side, side))
        self.tokenize = open_clip.get_tokenizer(options.arch)
        self.sources = sources(options.pairs, cache_folder() / "decoders")

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> list[tuple[np.ndarray, str]]:
        from clipfake.images.preprocess import preprocess
        from clipfake.images.resize import FAST

        def seen(image: "Image") -> np.ndarray:
            return preprocess(image, self.preprocess, FAST)

        return self.sources.group(np.random.default_rng([self.options.seed, index]), seen, self.part)

    def collate(self, groups: list[list[tuple[np.ndarray, str]]]) -> tuple[Any, Any]:
        import torch

        pairs = [pair for group in groups for pair in group]
        return torch.from_numpy(np.stack([pixels for pixels, _ in pairs])), self.tokenize([text for _, text in pairs])


def _one_thread(_: int) -> None:
    import torch

    torch.set_num_threads(1)
