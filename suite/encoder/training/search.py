"""Search for better settings: trials within a small space, one after another; bad ones are stopped early.

What is tried next is said by a tree-structured Parzen estimator (Bergstra et al., Algorithms for Hyper-Parameter
Optimization, 2011); a trial whose best evaluation is below the median of the earlier ones at the same place is stopped
(Golovin et al., Google Vizier, 2017). Both are Optuna's, which is told anew of all earlier trials before each one: they
are all that a search that was killed needs to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from suite.encoder.training.config import EPOCHS, LIMITS, WHOLE, ConfigError, TrainingConfig
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.tasks import TrainingError

RUNNING, DONE, PRUNED, FAILED = "running", "done", "stopped early", "failed"  # states of a trial
SAME = ("seed", "minutes", "evaluations", "evaluating", "patience", "checkpoint_seconds")  # as trials are compared
DRAWN = 5  # first trials that are drawn, before the estimator has something to go by
WHOLE_TRIALS = 3  # that come through before one is stopped early
FIRST_LOOK = 1  # evaluation, from 0, at which a trial can be stopped: the very first one is of a body still warming up
LOGARITHMIC = 10  # ends of a range that are so many times apart or more: the ratio counts, not the difference


@dataclass(frozen=True, slots=True)
class Range:
    """Ends included."""

    low: float
    high: float
    why: str = ""

    @property
    def is_logarithmic(self) -> bool:
        return 0 < self.low * LOGARITHMIC <= self.high

    def rounded(self, value: float) -> float:
        """A value to four digits, for people."""
        return value if isinstance(value, int) else min(max(float(f"{value:.4g}"), self.low), self.high)


SPACE = {
    "learning_rate": Range(5e-5, 1e-3, "too low: it ends before it has learned; too high: it forgets what it knew"),
    "layer_decay": Range(0.6, 1.0, "low: the lower layers stay as they are; 1: all layers learn alike"),
    "batch_size": Range(16, 64, "contrastive tasks have more negatives in larger ones, and there are fewer steps"),
    "dropout": Range(0.0, 0.3, "more where there are few examples"),
    "label_smoothing": Range(0.0, 0.15, "more where labels are often wrong"),
    "scale": Range(10, 40, "low: all texts of a batch count; high: the nearest ones do"),
}


@dataclass(slots=True)
class Trial:
    """`means` are those of the primary metrics on validation examples, of every evaluation but that of the body as it
    came. Plain data."""

    number: int  # from 1; the first one has the values of the configuration
    values: dict[str, float]
    state: str = RUNNING
    means: list[float] = field(default_factory=list)
    message: str = ""


class Pruned(Exception):
    """A trial is not worth going on with."""


Tune = Callable[[Trial, TrainingConfig, Report], Progress]


def search(
    config: TrainingConfig, wanted: int, trials: list[Trial], tune: Tune, note: Callable[[], None]
) -> Iterator[Trial]:
    """Carry trials out until there are so many, and yield each one that ended. `trials` are those so far, the last one
    perhaps under way; `note` is called whenever they change. Raises `ConfigError`, `TrainingError` where none came
    through, and what `tune` and `note` raise."""
    space = space_of(config)
    config = replace(config, evaluating=0)  # as many in every trial
    while len(trials) < wanted or trials[-1].state == RUNNING:
        earlier = [trial for trial in trials if trial.state != RUNNING]
        asked = ask(space, config, earlier, trials[-1].values if len(earlier) < len(trials) else None)
        if len(earlier) == len(trials):
            values = {name: space[name].rounded(value) for name, value in asked.params.items()}
            trials.append(Trial(len(trials) + 1, values))
            note()
        trial = trials[-1]
        try:
            progress = tune(trial, TrainingConfig.from_mapping(trial.values, config), judge(trial, asked, note))
            trial.state, trial.means = DONE, means(progress)
        except Pruned:
            trial.state = PRUNED
        except (ConfigError, TrainingError) as error:  # such as a loss that is not a number any more
            trial.state, trial.message = FAILED, str(error)
        note()
        yield trial
    if all(trial.state == FAILED for trial in trials):
        raise TrainingError(f"no trial came through; the last one: {trials[-1].message}")


def judge(trial: Trial, asked: Any, note: Callable[[], None]) -> Report:
    """Keeps the trial's means up to date, and raises `Pruned` where it is not worth going on with."""
    told = 0

    def report(progress: Progress) -> None:
        nonlocal told
        found = means(progress)
        if len(found) == told:
            return
        for step in range(told, len(found)):
            asked.report(found[step], step)
        told, trial.means = len(found), found
        note()
        if progress.batch < progress.batches and asked.should_prune():
            raise Pruned

    return report


def means(progress: Progress) -> list[float]:
    return [one["mean"] for one in progress.evaluations[1:]]


def ask(
    space: Mapping[str, Range], config: TrainingConfig, earlier: Sequence[Trial], values: Mapping[str, float] | None
) -> Any:
    """Optuna's trial that comes after the earlier ones, with these values where there are any. Raises `TrainingError`
    without optuna."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise TrainingError("a search needs the package optuna: install the extra `search`") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {}
    for name, one in space.items():
        low, high, is_logarithmic = one.low, one.high, one.is_logarithmic
        distributions[name] = (
            optuna.distributions.IntDistribution(int(low), int(high), log=is_logarithmic)
            if name in WHOLE
            else optuna.distributions.FloatDistribution(low, high, log=is_logarithmic)
        )
    states = {DONE: optuna.trial.TrialState.COMPLETE, PRUNED: optuna.trial.TrialState.PRUNED,
              FAILED: optuna.trial.TrialState.FAIL}  # fmt: skip
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=config.seed + len(earlier), n_startup_trials=DRAWN),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WHOLE_TRIALS, n_warmup_steps=FIRST_LOOK),
    )
    for trial in earlier:
        study.add_trial(
            optuna.trial.create_trial(
                state=states[trial.state],
                value=None if trial.state == FAILED else max(trial.means),
                params=trial.values,
                distributions=distributions,
                intermediate_values=dict(enumerate(trial.means)),
            )
        )
    if values is None and not earlier:
        given = asdict(replace(config, epochs=EPOCHS if config.epochs is None else config.epochs))
        values = {name: min(max(given[name], one.low), one.high) for name, one in space.items()}
    if values is not None:
        study.enqueue_trial(dict(values))
    return study.ask(distributions)


def space_of(config: TrainingConfig) -> dict[str, Range]:
    """The ranges of `config.search`, or else those declared above. Raises `ConfigError`."""
    if config.epochs == 0:
        raise ConfigError("a search needs epochs over 0")
    space = {}
    for name, ends in config.search.items():
        if name not in LIMITS or name in SAME:
            fields = ", ".join(one for one in LIMITS if one not in SAME)
            raise ConfigError(f"search: {name} cannot be searched for; the fields are {fields}")
        low, high = LIMITS[name]
        kinds = int if name in WHOLE else int | float
        is_range = isinstance(ends, list | tuple) and len(ends) == 2 and all(
            isinstance(end, kinds) and not isinstance(end, bool) for end in ends
        )  # fmt: skip
        if not is_range or not low <= ends[0] < ends[1] <= high:
            number = "whole numbers" if name in WHOLE else "numbers"
            raise ConfigError(f"search: {name} must be two {number} [low, high] from {low:g} to {high:g}")
        space[name] = Range(ends[0], ends[1])
    return space or SPACE


def described() -> str:
    """The space, for people: a line a field."""
    return "\n".join(f"  {name:16} {one.low:g} to {one.high:g}: {one.why}" for name, one in SPACE.items())
