"""Settings that change the speed and the memory of a step, but not its result."""

from dataclasses import replace

import pytest
import torch

from cyclegan_gc.config import LossConfig
from cyclegan_gc.model.acceleration import Accelerated
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.memory import MemoryMeter, estimate_bytes, memory_line
from cyclegan_gc.train.state import TrainState, build_state
from cyclegan_gc.train.step import train_step
from cyclegan_gc.validate.score import relative_depth

CPU = torch.device("cpu")
LOSS = LossConfig(identity=0.5, depth_histogram=1.0)


def batches(count: int, size: int = 4, side: int = 32, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Smooth random slices inside a body, air outside."""
    random = torch.Generator().manual_seed(0)
    mask = torch.zeros(size, 1, side, side, dtype=torch.bool)
    mask[..., 4:-4, 4:-4] = True
    depth = torch.from_numpy(relative_depth(mask.numpy()))

    def images() -> torch.Tensor:
        coarse = torch.rand(size, 1, side // 4, side // 4, generator=random) * 2 - 1
        fine = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
        return torch.where(mask, fine, -1.0).to(dtype)

    return [Batch(images(), images(), mask, mask, depth, depth) for _ in range(count)]


def after_steps(config, *, parts: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """All weights after three steps, and the last step's figures.

    In float64 rounding stays far below Adam's epsilon. In float32 it does not: where a gradient is nearly 0, Adam makes
    whole steps of its rounding, and machines round differently.
    """
    state = build_state(config, CPU)
    for network in (*state.networks.values(), *state.averages.values()):
        network.to(dtype)
    figures = {}
    for batch in batches(3, dtype=dtype):
        figures = train_step(state, batch, LOSS, parts=parts)
    weights = {
        f"{name}.{key}": value.detach().clone()
        for name, network in state.networks.items()
        for key, value in network.state_dict().items()
    }
    return {**weights, **figures}


def assert_equal_to_rounding(result: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Tolerance in float64: six digits less than it has, because three steps multiply rounding."""
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=1e-9, atol=1e-9, msg=name)


def parameters(state: TrainState, which: str) -> list[torch.Tensor]:
    """Weights of all networks of a kind."""
    return [parameter for group in state.optimizers[which].param_groups for parameter in group["params"]]


@pytest.fixture
def config(small_config):
    return replace(
        small_config,
        optimizer=replace(small_config.optimizer, batch_size=4, pool_size=3),
        network=replace(small_config.network, blocks=2),
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_k_parts_of_b_equal_one_batch_of_kb(config, parts):
    whole, accumulated = (after_steps(config, parts=n, dtype=torch.float64) for n in (1, parts))
    assert_equal_to_rounding(accumulated, whole)


def test_activation_checkpointing_changes_nothing_at_all(config):
    whole, recomputed = after_steps(config), after_steps(replace(config, activation_checkpointing=True))
    assert all(torch.equal(recomputed[name], value) for name, value in whole.items())


def test_the_order_in_memory_changes_rounding_only(config):
    whole, reordered = (after_steps(replace(config, channels_last=last), dtype=torch.float64) for last in (False, True))
    assert_equal_to_rounding(reordered, whole)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_train_close_to_32_with_losses_and_weights_in_32(config, precision):
    whole, half = after_steps(config), after_steps(replace(config, precision=precision))
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in half.values())
    for name in ("cycle_mr", "cycle_ct", "gradient_mr", "gradient_ct", "generator"):
        torch.testing.assert_close(half[name], whole[name], rtol=0.05, atol=0.02)
    changed = [name for name, value in whole.items() if not torch.equal(value, half[name])]
    assert len(changed) > len(whole) / 2, "the networks ran in 32 bits"


def test_inside_a_network_the_convolutions_run_in_16_bits(config):
    seen = []
    network = torch.nn.Conv2d(1, 1, 3)
    network.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    result = Accelerated(network, "bf16")(torch.zeros(1, 1, 8, 8))
    assert seen == [torch.bfloat16] and result.dtype == torch.float32


def test_an_overflow_in_fp16_leaves_out_the_step_and_is_no_broken_figure(config):
    state = build_state(replace(config, precision="fp16"), CPU)
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 1e38})
    before = [p.detach().clone() for p in parameters(state, "generators")]
    figures = train_step(state, batches(1)[0], LOSS)
    assert all(map(torch.equal, before, parameters(state, "generators")))
    assert figures["gradient_norm_generators"] == 0
    assert state.scaler.get_scale() < 1e38


def test_the_scaler_of_fp16_is_resumed(config):
    from cyclegan_gc.train.state import load_state, state_dict

    half = replace(config, precision="fp16")
    state, other = build_state(half, CPU), build_state(half, CPU)
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 1024.0, "_growth_tracker": 7})
    load_state(other, state_dict(state), CPU)
    assert other.scaler.state_dict() == state.scaler.state_dict()


@pytest.mark.slow
def test_compiled_networks_compute_the_same(config):
    whole, compiled = (after_steps(replace(config, compile=on), dtype=torch.float64) for on in (False, True))
    assert_equal_to_rounding(compiled, whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("width", [4, 24])
def test_the_estimate_is_what_a_real_step_holds(config, precision, width):
    """The witness counts a step on real tensors, the estimate one on tensors without data."""
    network = replace(config.network, width=width)
    config = replace(config, data=replace(config.data, crop=(32, 32)), precision=precision, network=network)
    with MemoryMeter() as meter:
        state, images = build_state(config, CPU), batches(6)
        for batch in images:
            train_step(state, batch, config.loss)
            kept = meter.now
    estimated_kept, estimated_step = estimate_bytes(config)
    assert estimated_kept == pytest.approx(kept, rel=0.25)
    assert estimated_kept + estimated_step == pytest.approx(meter.peak, rel=0.25)


def test_the_estimate_holds_four_copies_of_the_generators_and_three_of_the_discriminators(config):
    """Weights, two moments of Adam, and for the generators the moving average."""
    config = replace(config, optimizer=replace(config.optimizer, pool_size=0, batch_size=1))
    state = build_state(config, CPU)
    generators = sum(p.nbytes for p in parameters(state, "generators"))
    discriminators = sum(p.nbytes for p in parameters(state, "discriminators"))
    kept = estimate_bytes(config)[0]
    # Beside them the gradients, of both, and the images of the last batch.
    assert 4 * generators + 3 * discriminators < kept < 6 * generators + 5 * discriminators + 100_000


def test_the_switches_that_save_memory_do(config):
    network = replace(config.network, width=8, blocks=8)
    config = replace(config, network=network, data=replace(config.data, crop=(96, 96)))
    step = estimate_bytes(config)[1]
    assert estimate_bytes(replace(config, accumulate=4))[1] < 0.4 * step
    assert estimate_bytes(replace(config, activation_checkpointing=True))[1] < 0.8 * step
    assert estimate_bytes(replace(config, precision="bf16"))[1] < 0.85 * step
    assert estimate_bytes(config, ranks=2)[1] < 0.6 * step


def test_a_step_that_does_not_fit_is_told_before_it_runs(config):
    line, fits = memory_line(config, CPU)
    assert fits and line.startswith("memory: about 0.")
    huge = replace(config, data=replace(config.data, crop=(32768, 32768)))
    assert not memory_line(huge, CPU)[1]
