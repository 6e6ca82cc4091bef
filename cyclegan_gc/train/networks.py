"""The networks of a run by name, and which of them an objective needs."""

import torch
from torch import nn

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.model.cyclegan import build_discriminator, build_generator

GENERATORS = ("mr_to_ct", "ct_to_mr")
"""The other networks are discriminators."""
PAIR_SEED = 1 << 40
"""Beyond the seeds of the four unpaired networks."""


def build_networks(config: TrainConfig, device: torch.device) -> dict[str, nn.Module]:
    """Fresh networks on ``device``, the same for a seed.

    The unpaired objective has its four, the paired one ``mr_to_ct`` alone; where there are pairs
    ``pair_discriminator`` sees an MR beside a CT.
    """
    net, seed = config.network, 4 * config.seed
    architecture = (net.width, net.blocks, net.reduction, net.stem, net.upsampling)
    mr, ct = config.data.mr_channels, config.data.ct_channels

    def generator(source: int, target: int, number: int) -> nn.Module:
        built = build_generator(
            *architecture, in_channels=source, out_channels=target, dropout=net.dropout, seed=seed + number
        )
        built.recompute = config.activation_checkpointing
        return built

    def discriminator(channels: int, own_seed: int) -> nn.Module:
        return build_discriminator(net.discriminator_width, net.discriminator_layers, channels=channels, seed=own_seed)

    networks: dict[str, nn.Module] = {"mr_to_ct": generator(mr, ct, 0)}
    if config.objective == "unpaired":
        networks["ct_to_mr"] = generator(ct, mr, 1)
        networks["ct_discriminator"] = discriminator(ct, seed + 2)
        networks["mr_discriminator"] = discriminator(mr, seed + 3)
    if config.data.pairs is not None:
        networks["pair_discriminator"] = discriminator(mr + ct, PAIR_SEED + config.seed)
    order = torch.channels_last if config.channels_last else torch.preserve_format
    return {name: network.to(device).to(memory_format=order) for name, network in networks.items()}
