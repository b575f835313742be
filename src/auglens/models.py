"""Any timm classifier or the U-Net, from a seed, its norms replaced or a bottleneck added; and checkpoints."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.modules.batchnorm import _BatchNorm

from auglens import compat, unet

if TYPE_CHECKING:
    from auglens.config import ModelConfig

# timm's name of a setting (or ours, of what is done to its network) → ours and the value that asks for nothing
_OPTIONS: dict[str, tuple[str, str]] = {
    "drop_rate": ("dropout", "0"),
    "drop_path_rate": ("drop_path", "0"),
    "output_stride": ("output_stride", "null"),
    "norm": ("norm", "batch"),
    "precode_size": ("precode_size", "0"),
}
_SHIFT = 5.0  # the standard deviation starts near softplus(−5) = 0.0067, so that training starts on the features
_LEAST = 1e-6  # added to it, so that its logarithm is finite


class ChannelBias(nn.Module):
    """In place of a batch norm: float [B,C,H,W] → the same plus one learnable value per channel, from 0 on.

    scaled: times one learnable number, from 0 on (SkipInit: De and Smith, NeurIPS 2020). drop, act: what a fused
    norm does next.
    """

    def __init__(self, channels: int, *, scaled: bool, drop: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.zeros(())) if scaled else None
        self.drop, self.act = drop, act

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is not None:
            x = x * self.scale
        result: Tensor = self.act(self.drop(x + self.bias[:, None, None]))
        return result


class GroupNorm(nn.GroupNorm):
    """torch's, and then what a fused batch norm does next: drop and act."""

    def __init__(self, groups: int, channels: int, *, drop: nn.Module, act: nn.Module, **how: Any) -> None:
        super().__init__(groups, channels, **how)
        self.drop, self.act = drop, act

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.drop(super().forward(x)))
        return result


class Bottleneck(nn.Module):
    """PRECODE's variational bottleneck and the classifier behind it: features float [..., K] → logits [..., C].

    encoder K → 2k: the mean m and s, std = softplus(s − 5) as in Alemi et al., ICLR 2017; decoder k → K (Scheliga,
    Mäder and Seeland, WACV 2022). In training mode the code is drawn from N(m, std²) by torch's global generator;
    in evaluation mode it is m, and the whole is affine in the features.
    """

    def __init__(self, classifier: nn.Linear, size: int, beta: float) -> None:
        super().__init__()
        self.size, self.beta = size, beta
        self.encoder = nn.Linear(classifier.in_features, 2 * size)
        self.decoder = nn.Linear(size, classifier.in_features)
        self.classifier = classifier
        self._divergence: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """float [C, K]: what the logits are of the features in evaluation mode, but for a constant."""
        parts = self.classifier.weight, self.decoder.weight, self.encoder.weight[: self.size]
        return (parts[0].double() @ parts[1].double() @ parts[2].double()).to(parts[0].dtype)

    def forward(self, features: Tensor) -> Tensor:
        mean, raw = self.encoder(features).float().split(self.size, dim=-1)
        self._divergence = None
        if self.training:
            std = softplus(raw - _SHIFT) + _LEAST
            self._divergence = divergence(mean, std)
            mean = mean + std * torch.randn_like(std)
        logits: Tensor = self.classifier(self.decoder(mean.to(self.decoder.weight.dtype)))
        return logits

    def take_penalty(self) -> Tensor:
        """β·KL of the last forward in training mode, given once, so that no graph outlives its step."""
        found, self._divergence = self._divergence, None
        if found is None:
            raise ValueError(
                "penalty: expected a forward in training mode since the last one; run the model first"
            )
        return self.beta * found


def divergence(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std²) ‖ N(0, 1)) in nats: float [..., k] → [], the sum over k and the mean over the rest."""
    return (0.5 * (mean**2 + std**2 - 1) - std.log()).sum(-1).mean()


def penalty(model: nn.Module) -> Tensor | None:
    """β·KL of a bottleneck in the last forward in training mode, once; None where the model has none."""
    found = [module.take_penalty() for module in model.modules() if isinstance(module, Bottleneck)]
    return found[0] if found else None


def build(config: ModelConfig, classes: int, *, init_seed: int) -> nn.Module:
    """A network on the CPU in training mode: float32 [N, 3, H, W] → logits float32 [N, classes], of the U-Net
    [N, 1, H, W].

    Equal (config, classes, init_seed) give byte-equal weights; the global generators stay as they were and
    nothing is downloaded. `dropout`, `drop_path` and `output_stride` reach the networks that have them. Another
    `norm` and a bottleneck leave every other tensor at the bytes that it has without them.

    ValueError: an unknown name; fewer than two classes; a setting that the network cannot follow.
    """
    if config.name == unet.NAME:
        return _unet(config, init_seed)
    compat.import_timm()
    import timm

    if not timm.is_model(config.name):
        raise ValueError(_unknown(config.name, timm.list_models()))
    if classes < 2:
        raise ValueError(f"classes: expected at least 2, got {classes}; check the labels of the data")
    options: dict[str, Any] = {
        "drop_rate": config.dropout,
        "drop_path_rate": config.drop_path,
        "output_stride": config.output_stride,
        "img_size": config.image_size,  # taken by networks whose weights depend on it
    }
    while True:
        try:
            # The CPU's generator alone: `torch.manual_seed` would seed those of the GPUs too.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(init_seed)
                model: nn.Module = timm.create_model(config.name, pretrained=False, num_classes=classes, **options)
                # Drawn last, so that it moves nothing that the network itself draws.
                if config.precode_size:
                    _insert_bottleneck(model, config)
            if config.norm != "batch":
                _replace_norms(model, config)
            return model
        except TypeError as error:
            # timm's constructors refuse by name what they do not know: once more without it.
            refused = [name for name in options if re.search(rf"unexpected keyword .*\b{name}\b", str(error))]
            if not refused:
                raise
            for name in refused:
                value = options.pop(name)
                if value and name in _OPTIONS:
                    raise ValueError(_unsupported(name, value, config.name)) from None
        except (AssertionError, NotImplementedError):
            if config.output_stride is None:
                raise
            raise ValueError(_unsupported("output_stride", config.output_stride, config.name)) from None


def _unet(config: ModelConfig, init_seed: int) -> nn.Module:
    for name, neutral in (("output_stride", None), ("drop_path", 0), ("norm", "batch"), ("precode_size", 0)):
        if (value := getattr(config, name)) != neutral:
            told = "null" if neutral is None else neutral
            raise ValueError(f"model.{name}: {value} is not supported by {config.name}; use {told}")
    if config.image_size % unet.STRIDE:
        nearest = config.image_size // unet.STRIDE * unet.STRIDE or unet.STRIDE
        raise ValueError(
            f"model.image_size: expected a multiple of {unet.STRIDE} pixels for {config.name}, got"
            f" {config.image_size}; use {nearest}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(init_seed)
        return unet.UNet(config.width, config.dropout)


def _insert_bottleneck(model: nn.Module, config: ModelConfig) -> None:
    told: Any = getattr(model, "get_classifier", None)
    classifier = told() if told else None
    names = [name for name, module in model.named_modules() if module is classifier]
    if not isinstance(classifier, nn.Linear) or not names:
        raise ValueError(_unsupported("precode_size", config.precode_size, config.name))
    model.set_submodule(names[0], Bottleneck(classifier, config.precode_size, config.precode_beta))


def _replace_norms(model: nn.Module, config: ModelConfig) -> None:
    """Every batch norm → group norm with its initial weights, or none: a bias.

    Where a residual branch ends in a norm that starts at weight 0 (timm's ResNets), leaving it out would lose that
    start: the loss jumps by orders of magnitude in the first steps (ResNet-18, Adam 1e-3: 178). There
    SkipInit's one scalar starts the branch at 0 instead.
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    if not norms or not all(isinstance(norm, nn.BatchNorm2d) for norm in norms.values()):
        raise ValueError(_unsupported("norm", config.norm, config.name))
    every = math.gcd(*(norm.num_features for norm in norms.values()))
    for name, norm in norms.items():
        after: dict[str, Any] = {key: getattr(norm, key, None) or nn.Identity() for key in ("drop", "act")}
        if config.norm == "none":
            scaled = norm.affine and not norm.weight.any()
            model.set_submodule(name, ChannelBias(norm.num_features, scaled=bool(scaled), **after))
            continue
        key = "norm_groups" if config.norm_channels is None else "norm_channels"
        value = getattr(config, key)
        if norm.num_features % value:
            raise ValueError(
                f"model.{key}: {value} does not divide the {norm.num_features} channels of {name!r} in"
                f" {config.name}; use a divisor of {every}, which divides those of every layer"
            )
        groups = value if key == "norm_groups" else norm.num_features // value
        group = GroupNorm(groups, norm.num_features, eps=norm.eps, affine=norm.affine, **after)
        if norm.affine:
            group.load_state_dict({"weight": norm.weight, "bias": norm.bias})
        model.set_submodule(name, group)


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a checkpoint's tensors into `model`; all of them or, on an error, none.

    ValueError: another architecture's checkpoint, naming the first tensor that differs.
    """
    expected = model.state_dict()
    fix = "it is another architecture's: set model.* to what it was trained with, or train this model"
    for name, tensor in expected.items():
        shape = list(tensor.shape)
        if name not in state:
            raise ValueError(f"checkpoint: no tensor {name!r}, expected {shape}; {fix}")
        if list(state[name].shape) != shape:
            raise ValueError(f"checkpoint: tensor {name!r} is {list(state[name].shape)}, expected {shape}; {fix}")
    surplus = next((name for name in state if name not in expected), None)
    if surplus is not None:
        raise ValueError(f"checkpoint: tensor {surplus!r} is not in the model; {fix}")
    model.load_state_dict(dict(state))


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
    return f"model.name: expected a timm model, got {name!r}; {hint}"


def _unsupported(option: str, value: object, name: str) -> str:
    ours, neutral = _OPTIONS[option]
    return f"model.{ours}: {value} is not supported by {name}; use {neutral} or another model.name"
