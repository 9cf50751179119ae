"""Measures wall times, counts floating-point operations, and measures the machine's rate of matrix products."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.flop_counter import FlopCounterMode

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation.episodes import Conditions, begin_first_episode, find_world_of
from dfplan.benchmarks.evaluation.machine import find_processor
from dfplan.ground.devices import find_device

FEWEST_CALLS, MOST_CALLS = 3, 400  # of one measurement
TURNS = 5  # how often a comparison alternates between matrix products and the code that is compared with them
WARM_UP_SHARE = 0.2  # seconds of warm-up per second of a measurement: the first calls allocate memory and fill caches
# Sides of the square matrix products whose best rate is the machine's rate; smaller products do not use all of it.
PRODUCT_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def time_repeatedly(measure: Callable[[], float], budget: float) -> Float[np.ndarray, " call"]:
    """Call ``measure``, which returns seconds, for about ``budget`` seconds after a warm-up; return all its results."""
    warm_up = measure()
    while warm_up < WARM_UP_SHARE * budget:
        warm_up += measure()
    seconds: list[float] = []
    while len(seconds) < FEWEST_CALLS or (sum(seconds) < budget and len(seconds) < MOST_CALLS):
        seconds.append(measure())
    return np.array(seconds)


def measure_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the wall seconds of ``call``, until the device has finished its work too."""
    _wait_for_device(device)
    start = time.perf_counter()
    call()
    _wait_for_device(device)
    return time.perf_counter() - start


def _wait_for_device(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_plan_timer(agent: DFPlanner, conditions: Conditions, batch: int = 1) -> Callable[[], float]:
    """Return a function that makes the first plans of ``batch`` episodes and returns their wall seconds.

    Every call begins the episodes anew, so that nothing of the plan is known. The agent itself measures the seconds,
    from the observations to the plans.
    """
    observation, goal = begin_first_episode(agent, conditions)
    observations, num_steps = observation.repeat(batch, axis=0), find_world_of(conditions).num_steps

    def plan() -> float:
        agent.reset(goal=goal, seed=conditions.seed, num_steps=num_steps)
        agent.act(observations)
        return agent.plan_seconds[0]

    return plan


def watch_processor_time() -> Callable[[], float]:
    """Return a function that tells how many processors this process has used on average since this call.

    A result below 1 means that the process had to wait for others.
    """
    wall, own = time.perf_counter(), time.process_time()
    return lambda: (time.process_time() - own) / (time.perf_counter() - wall)


def count_operations(call: Callable[[], object]) -> int:
    """Return the number of floating-point operations of the matrix products in ``call``: two per multiply-add."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def find_precision(model: torch.nn.Module) -> str:
    """Return the name of the type of a model's weights, such as ``float32``."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Machine:
    """The device on which networks run.

    Attributes:
        device: as torch knows it.
        name: model of the processor or accelerator.
        threads: number of torch's threads on the CPU.
        rates: median operations per second of square matrix products, by precision and side.
    """

    device: torch.device
    name: str
    threads: int
    rates: dict[str, dict[int, float]]

    def compute_share(self, rate: float, precision: str = "float32") -> float:
        """Return ``rate`` (operations per second) as a share of the best rate of matrix products in this precision."""
        return round(rate / max(self.rates[precision].values()), 3)

    def make_best_product_timer(self, precision: str) -> tuple[Callable[[], float], int]:
        """Return a function that times the square product with the best rate (seconds), and its operations."""
        side = max(self.rates[precision], key=self.rates[precision].__getitem__)
        return make_product_timer(side, DTYPES[precision], self.device), 2 * side**3

    def to_rows(self, processors: float) -> list[dict]:
        """Return a table with one row per precision. ``processors`` is the result of ``watch_processor_time``."""
        return [
            {"products in": precision, "best GFLOP/s": max(rates.values()) / 1e9}
            | {f"{side} x {side}": rate / 1e9 for side, rate in rates.items()}
            | {"threads": self.threads, "processors had": round(processors, 2), "device": self.name}
            for precision, rates in self.rates.items()
        ]

    def __str__(self) -> str:
        """Return two sentences about the machine, for a report."""
        return (
            f"Networks ran on {self.name} (`{self.device}`), threads of torch: {self.threads}; float32 products are "
            f"torch's, in its precision `{torch.get_float32_matmul_precision()}`. If the process had less than one "
            f"processor (`processors had`), other processes ran beside it, and the times are too long."
        )


def measure_machine(device: str, budget: float) -> Machine:
    """Return the device with the rates of its matrix products; each is measured for about ``budget`` seconds.

    Raises:
        InputError: if there is no such device.
    """
    place = find_device(device)
    sides = PRODUCT_SIZES.get(place.type, PRODUCT_SIZES["cpu"])
    rates = {precision: measure_product_rates(dtype, place, sides, budget) for precision, dtype in DTYPES.items()}
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else find_processor()
    return Machine(place, name, torch.get_num_threads(), rates)


def make_product_timer(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """Return a function that multiplies two square matrices and returns the wall seconds."""
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    return lambda: measure_seconds(lambda: left @ right, device)


def measure_product_rates(
    dtype: torch.dtype, device: torch.device, sides: Sequence[int], budget: float
) -> dict[int, float]:
    """Return the median operations per second of products of two square matrices, by their side."""
    return {
        side: 2 * side**3 / float(np.median(time_repeatedly(make_product_timer(side, dtype, device), budget)))
        for side in sides
    }


def compare_with_products(
    measure: Callable[[], float], work: int, machine: Machine, precision: str, budget: float
) -> tuple[float, float]:
    """Return the median seconds of ``measure``, and its rate as a share of the best rate of matrix products.

    Products and ``measure`` are measured alternately, so that other processes slow both equally.

    Args:
        measure: returns the seconds of one call.
        work: operations of one call.
        machine: knows the matrix product with the best rate.
        precision: of the matrix products.
        budget: about the seconds of the measurement, without those of the products.
    """
    product, operations_of_product = machine.make_best_product_timer(precision)
    seconds, product_seconds = [], []
    for _ in range(TURNS):
        product_seconds.append(time_repeatedly(product, budget / TURNS / 2))
        seconds.append(time_repeatedly(measure, budget / TURNS))
    median, median_of_products = (float(np.median(np.concatenate(part))) for part in (seconds, product_seconds))
    return median, round(work / median / (operations_of_product / median_of_products), 3)
