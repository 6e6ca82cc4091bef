"""Keys of a training's figures in W&B: the names of metrics.jsonl, in groups that W&B shows as sections."""

GROUPS = ("discriminator", "loss", "optim", "panels", "speed", "true", "validation", "watchdog")
PLACES = {
    "blank_slices": "watchdog/blank_slices",
    "discriminator_": "discriminator/",
    "gradient_norm_": "optim/gradient_norm_",
    "learning_rate": "optim/learning_rate",
    "memory_gb": "speed/memory_gb",
    "paired_discriminator": "discriminator/paired",
    "slices_per_second": "speed/slices_per_second",
    "steps_per_second": "speed/steps_per_second",
}
"""Beginning of a plain name -> what replaces it; any other plain name is that of a loss."""
BEST = {
    "validation/score": "min",
    "validation/gradient": "min",
    "validation/cycle": "min",
    "validation/depth_histogram_hu": "min",
    "validation/histogram_hu": "min",
    "validation/tissues": "min",
    "validation/outline": "min",
    "validation/roughness": "min",
    "true/mae_body_hu": "min",
    "true/bone_dice": "max",
    "speed/memory_gb": "max",
}
"""Keys whose best value, not the last one, stands in the run's summary."""


def wandb_key(name: str) -> str:
    """W&B's key of a figure of metrics.jsonl: ``cycle_mr`` -> ``loss/cycle_mr``; a name in a group stays as it is."""
    if "/" in name:
        return name
    for beginning, replaced in PLACES.items():
        if name.startswith(beginning):
            return replaced + name.removeprefix(beginning)
    return f"loss/{name}"
