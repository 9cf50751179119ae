"""Wall times to be relied on, and what they are held against: floating-point operations and the machine's own rate."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.flop_counter import FlopCounterMode

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation import Conditions, first_observation
from dfplan.benchmarks.report import processor
from dfplan.devices import find_device

FEWEST_CALLS, MOST_CALLS = 3, 400
TURNS = 5  # in which products and what is held against them are measured
WARM_UP_SHARE = 0.2  # of a measurement's seconds, spent beforehand: the first calls allocate and warm caches
# Sides of the square matrix products whose best rate counts as the machine's; smaller ones do not fill it.
PRODUCT_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def repeated(measure: Callable[[], float], budget: float) -> Float[np.ndarray, " call"]:
    """Return the seconds that ``measure`` tells of, call by call, for about ``budget`` seconds after a warm-up."""
    warm_up = measure()
    while warm_up < WARM_UP_SHARE * budget:
        warm_up += measure()
    seconds: list[float] = []
    while len(seconds) < FEWEST_CALLS or (sum(seconds) < budget and len(seconds) < MOST_CALLS):
        seconds.append(measure())
    return np.array(seconds)


def wall_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds until ``call`` is done, on the device too."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def first_plan(agent: DFPlanner, conditions: Conditions, batch: int = 1) -> Callable[[], float]:
    """Return what begins ``batch`` episodes side by side, makes their first plans, and returns the seconds of these.

    Everything is still to be planned then; seconds are the agent's own, from observations to plans.
    """
    observation, goal = first_observation(agent, conditions)
    observations = observation.repeat(batch, axis=0)

    def plan() -> float:
        agent.reset(goal=goal, seed=conditions.seed, num_steps=conditions.num_steps)
        agent.act(observations)
        return agent.plan_seconds[0]

    return plan


def processors_had() -> Callable[[], float]:
    """Return what tells how many processors' time this process has had from now on: under 1 it waited for others."""
    wall, own = time.perf_counter(), time.process_time()
    return lambda: (time.process_time() - own) / (time.perf_counter() - wall)


def operations(call: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products in ``call``: two for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def precision_of(model: torch.nn.Module) -> str:
    """Return the name of the precision of a model's weights."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Machine:
    """What networks run on.

    Attributes:
        device: where.
        name: model of the processor or accelerator.
        threads: of torch, on the CPU.
        rates: operations per second of square matrix products, by precision and side; medians.
    """

    device: torch.device
    name: str
    threads: int
    rates: dict[str, dict[int, float]]

    def share(self, rate: float, precision: str = "float32") -> float:
        """Return operations per second as a share of what matrix products in that precision reach at their best."""
        return round(rate / max(self.rates[precision].values()), 3)

    def best_product(self, precision: str) -> tuple[Callable[[], float], int]:
        """Return what takes the square product of the best rate and tells its seconds, and its operations."""
        side = max(self.rates[precision], key=self.rates[precision].get)
        return product_of(side, DTYPES[precision], self.device), 2 * side**3

    def rows(self, processors: float) -> list[dict]:
        """Return a table: a row per precision, a column per side; and the ``processors_had`` all the while."""
        return [
            {"products in": precision, "best GFLOP/s": max(rates.values()) / 1e9}
            | {f"{side} x {side}": rate / 1e9 for side, rate in rates.items()}
            | {"threads": self.threads, "processors had": round(processors, 2), "device": self.name}
            for precision, rates in self.rates.items()
        ]

    def __str__(self) -> str:
        """Return two sentences for a report."""
        return (
            f"Networks ran on {self.name} (`{self.device}`), threads of torch: {self.threads}; float32 products are "
            f"torch's, in its precision `{torch.get_float32_matmul_precision()}`. Had the process less than one "
            f"processor's time (`processors had`), something else ran beside it, and times are too long."
        )


def measured_machine(device: str, budget: float) -> Machine:
    """Return the device with the rates of its products, each measured for about ``budget`` seconds."""
    place = find_device(device)
    sides = PRODUCT_SIZES.get(place.type, PRODUCT_SIZES["cpu"])
    rates = {precision: product_rates(dtype, place, sides, budget) for precision, dtype in DTYPES.items()}
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else processor()
    return Machine(place, name, torch.get_num_threads(), rates)


def product_of(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """Return what takes the product of two square matrices and tells its seconds."""
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    return lambda: wall_seconds(lambda: left @ right, device)


def product_rates(dtype: torch.dtype, device: torch.device, sides: Sequence[int], budget: float) -> dict[int, float]:
    """Return the operations per second of products of two square matrices, by their side; medians."""
    return {side: 2 * side**3 / float(np.median(repeated(product_of(side, dtype, device), budget))) for side in sides}


def beside_products(
    measure: Callable[[], float], work: int, machine: Machine, precision: str, budget: float
) -> tuple[float, float]:
    """Return the median seconds of ``measure``, and the rate of its ``work`` as a share of that of products.

    These are measured in turn with it: what else runs on a machine slows both alike.
    """
    product, operations_of_product = machine.best_product(precision)
    seconds, product_seconds = [], []
    for _ in range(TURNS):
        product_seconds.append(repeated(product, budget / TURNS / 2))
        seconds.append(repeated(measure, budget / TURNS))
    median, median_of_products = (float(np.median(np.concatenate(part))) for part in (seconds, product_seconds))
    return median, round(work / median / (operations_of_product / median_of_products), 3)
