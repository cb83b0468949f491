"""One link's controller, its shadow and their scores: what a live loop calls at every tick, and a replay again.

    decision = session.decide(sample, time_ns=..., monotonic_ns=...)
    ...                                    # apply decision.allocation_mbps
    tick = session.finish(applied_mbps=...)  # the work that can wait, the shadow, the record

The shadow gets the same telemetry at the same times, after the live decision is out; its decisions go nowhere.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, cast

from linkcast import __version__
from linkcast.engine import Engine
from linkcast.files import sha256
from linkcast.live.record import NAN, Forecast, Header, ScoreStates, Shadow, ShadowHeader, Tick
from linkcast.live.score import NaiveRules, Score
from linkcast.live.shadow import Contest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from linkcast._native import ControllerOptions, Decision, Model

_ROLES = ("forecaster", "fallback", "allocator")
_ROUNDING = 1e-12  # of a fraction: below it, nothing was raised


def _runs_on(model: Model) -> str:
    """What decides the last bits of a stream's answers."""
    if model.backend != "native":
        return model.backend
    return f"native ({model.isa if model.precision == 'float32' else model.step_kernels})"


class Pilot:
    """A controller on the models of one folder, with what has to be known of them. Of the live side or the shadow's."""

    def __init__(self, engine: Engine, profile: str, options: ControllerOptions) -> None:
        self.engine = engine
        self.controller = engine.controller(profile, **options)
        self.score = Score()
        self.models: dict[str, str] = {}
        self.runs_on: dict[str, str] = {}
        for role in _ROLES:
            try:
                name = engine.resolve(profile, role)
            except ValueError:
                continue  # no fallback, which only groups have; the controller has refused what it needs
            model = engine.model(name)
            self.models[name] = engine.spec(name)["sha256"]
            self.runs_on[name] = _runs_on(model)
        forecaster = engine.resolve(profile, "forecaster")
        self.spec = engine.spec(forecaster)
        self.precision = engine.model(forecaster).precision
        self.kernels = "" if self.precision == "float32" else engine.model(forecaster).step_kernels
        self.actions = engine.spec(engine.resolve(profile, "allocator"))["actions"] or 1
        self.models_id = models_id(self.models)
        self._bandwidth = self.spec["features"].index(self.spec["target"] or "")

    def telemetry(self, sample: Mapping[str, float | None]) -> tuple[float, ...]:
        """(features,) in the forecaster's order. ValueError names a feature that is not a number."""
        values = []
        for name in self.spec["features"]:
            value = sample.get(name)
            if value is None:
                raise ValueError(f"{name}: expected a number, got none")
            values.append(float(value))
        return tuple(values)

    def measured(self, telemetry: tuple[float, ...] | None) -> float | None:
        """The bandwidth in it, Mbit/s."""
        return None if telemetry is None else telemetry[self._bandwidth]

    def state(self) -> str:
        """Controller.snapshot as text."""
        return base64.b64encode(self.controller.snapshot()).decode("ascii")

    def restore(self, state: str, same_model: bool) -> None:
        """Goes on from there."""
        self.controller.restore(base64.b64decode(state), same_model)


class Session:
    """A link under control.

    Args:
        link: its name: "eth0".
        engine: the models that act.
        profile: "internet" or "datacenter".
        shadow: models that see the same and never act; None: none do.
        options: of Engine.controller; capacity_mbps has no default.
    Raises:
        ValueError: an unknown profile, or an option out of range.
    """

    def __init__(
        self,
        link: str,
        engine: Engine,
        profile: str = "internet",
        *,
        shadow: Engine | None = None,
        **options: Unpack[ControllerOptions],
    ) -> None:
        self.link = link
        self.profile = profile
        self.extra: dict[str, Any] = {}  # for the header: source, shaper, dry_run
        self.live = Pilot(engine, profile, options)
        self.options = self.live.controller.options
        self.shadow = None if shadow is None else Pilot(shadow, profile, self.options)
        self.contest = Contest()
        self.reloads = 0
        self._naive = NaiveRules(self.live.spec["window"] or 1)
        self._index = 0
        self._monotonic_ns = -1
        self._begun: dict[str, Any] = {}

    def decide(self, sample: Mapping[str, float | None] | None, *, time_ns: int, monotonic_ns: int) -> Decision:
        """The decision of this tick: the hot part. A sample that cannot be used is none, which the record says.

        Args:
            sample: by feature, in physical units; None when none came.
            time_ns: since 1970.
            monotonic_ns: of a clock that does not go back.
        Raises:
            ValueError: that clock went back, or the last tick was not finished.
        """
        if self._begun:
            raise ValueError(f"tick {self._index}: expected finish() before the next decide()")
        if monotonic_ns < self._monotonic_ns:
            raise ValueError(
                f"monotonic_ns: expected a clock that does not go back, got {monotonic_ns} after {self._monotonic_ns}"
            )
        telemetry, refused = None, None
        now_s = monotonic_ns / 1e9
        controller = self.live.controller
        try:
            telemetry = None if sample is None else self.live.telemetry(sample)
            decision = controller.tick(telemetry, now_s)
        except ValueError as error:  # of the sample: the clock has been looked at above
            telemetry, refused = None, str(error)
            decision = controller.tick(None, now_s)
        self._monotonic_ns = monotonic_ns
        self._begun = {
            "time_ns": time_ns,
            "monotonic_ns": monotonic_ns,
            "sample": None if sample is None else dict(sample),
            "telemetry": telemetry,
            "refused": refused,
        }
        return decision

    def finish(
        self,
        *,
        applied_mbps: float | None = None,
        health: str = "starting",
        health_reason: str | None = None,
        blocked: str | None = None,
    ) -> Tick:
        """The rest of the tick, and the record of it.

        Args:
            applied_mbps, health, health_reason: as in `Tick`.
            blocked: what kept the loop from applying the decision; the controller's own limits come before it.
        Raises:
            ValueError: there was no decide().
        """
        if not self._begun:
            raise ValueError("expected decide() before finish()")
        begun, self._begun = self._begun, {}
        live, decision = self.live, self.live.controller.last
        begin = perf_counter_ns()
        live.controller.advance()
        advance_ns = perf_counter_ns() - begin
        measured = live.measured(begun["telemetry"])
        forecast = forecast_of(decision)
        live.score.came(measured)
        if measured is not None:
            self._naive.came(measured)
        naive = [] if measured is None else self._naive.forecasts()
        live.score.expect(forecast, naive)
        shadow = None if self.shadow is None else self._follow(self.shadow, begun, measured, naive)
        limit = "hold" if decision.holding else "slew" if decision.slewed else None
        latency_ns = round(decision.latency_us * 1e3)
        tick = Tick(
            index=self._index,
            link=self.link,
            models=live.models_id,
            forecast=forecast,
            experts=live.controller.weights(),
            action=decision.action,
            allocation_mbps=decision.allocation_mbps,
            allocation_fraction=decision.allocation_fraction,
            allocation_cause=decision.allocation_cause,
            reason=reason_of(decision, self.options, live.actions),
            blocked=limit or blocked,
            congested=decision.congested,
            silent=decision.silent,
            stalled=decision.stalled,
            queue_ms=decision.queue_ms,
            latency_ns=latency_ns,
            advance_ns=advance_ns,
            late=0.0 < self.options["deadline_ms"] < latency_ns * 1e-6,
            applied_mbps=applied_mbps,
            health=health,
            health_reason=health_reason,
            skill=live.score.skill,
            coverage=live.score.coverage,
            shadow=shadow,
            **begun,
        )
        self._index += 1
        return tick

    def _follow(self, pilot: Pilot, begun: dict[str, Any], measured: float | None, naive: list[float]) -> Shadow:
        """The shadow's tick."""
        now_s = begun["monotonic_ns"] / 1e9
        try:
            telemetry = None if begun["telemetry"] is None else pilot.telemetry(begun["sample"])
            decision = pilot.controller.tick(telemetry, now_s)
        except ValueError:  # it reads another feature, or within other bounds: nothing came for it
            decision = pilot.controller.tick(None, now_s)
        pilot.controller.advance()
        forecast = forecast_of(decision)
        pilot.score.came(measured)
        self.contest.came(self.live.score.last_error, pilot.score.last_error)
        pilot.score.expect(forecast, naive)
        low, high = self.contest.interval
        return Shadow(
            forecast,
            decision.allocation_mbps,
            pilot.score.skill,
            self.contest.gain,
            low,
            high,
            self.contest.verdict,
        )

    def header(self) -> Header:
        """What the next tick starts from."""
        live, shadow = self.live, self.shadow
        return Header(
            time_ns=time_ns(),
            link=self.link,
            linkcast=__version__,
            folder=live.engine.folder,
            profile=self.profile,
            backend="tflite" if live.runs_on[live.spec["name"]] == "tflite" else "auto",
            precision=live.precision,
            features=tuple(live.spec["features"]),
            units=tuple(live.spec["units"]),
            step_s=live.spec["step_s"],
            options=cast("Mapping[str, float | int | str]", self.options),
            models=live.models,
            models_id=live.models_id,
            runs_on=live.runs_on,
            state=live.state(),
            next_index=self._index,
            scores=ScoreStates(live.score.state(), self._naive.state()),
            shadow=None
            if shadow is None
            else ShadowHeader(
                folder=shadow.engine.folder,
                models=shadow.models,
                models_id=shadow.models_id,
                runs_on=shadow.runs_on,
                precision=shadow.precision,
                state=shadow.state(),
                score=shadow.score.state(),
                contest=self.contest.state(),
                kernels=shadow.kernels,
            ),
            extra=self.extra,
            kernels=live.kernels,
        )

    @classmethod
    def resume(cls, header: Header, engine: Engine, shadow: Engine | None = None) -> Session:
        """A session that goes on where a header was written: it decides what came after it again, bit for bit with the
        same models on the same kernels. With others, what was learnt is carried over.

        Raises:
            ValueError: the models read other features, or the options or the state are damaged.
        """
        options = cast("ControllerOptions", header.options)
        try:
            session = cls(header.link, engine, header.profile, shadow=shadow, **options)
        except TypeError as error:
            raise ValueError(f"options: expected those of Engine.controller, got {dict(options)}") from error
        session.extra = dict(header.extra)
        if header.next_index == 0:  # the start: all is as new, whatever version wrote the state
            return session
        session.live.restore(header.state, session.live.models == dict(header.models))
        if header.scores is not None:
            session.live.score.restore(header.scores.live)
            session._naive.restore(header.scores.naive)
        session._index = header.next_index
        if header.shadow is not None and session.shadow is not None:
            session.shadow.restore(header.shadow.state, session.shadow.models == dict(header.shadow.models))
            session.shadow.score.restore(header.shadow.score)
            session.contest.restore(header.shadow.contest)
        return session

    def reload(self, engine: Engine | None = None, *, shadow: Engine | None = None, **options: Any) -> str | None:
        """Other models or options from the next tick on; window, allocation and what was learnt are carried over.

        All is made before anything is changed: what is refused leaves the session as it is.

        Args:
            engine: the models that act from now on; None: as now.
            shadow: those that only watch; None: none.
            options: of Engine.controller, in place of the present ones.
        Returns:
            Why nothing could be carried over to the new controller, which starts anew then; None: it was.
        Raises:
            ValueError: an option out of range, or the tick was not finished.
        """
        if self._begun:
            raise ValueError(f"tick {self._index}: expected finish() before reload()")
        before, watched = self.live, self.shadow
        live = Pilot(engine or before.engine, self.profile, cast("ControllerOptions", {**self.options, **options}))
        present = live.controller.options
        watching = None if shadow is None else Pilot(shadow, self.profile, present)
        lost = _carry_over(before, live)
        pairs = [pilot for pilot in (before, watched) if pilot is not None]
        ids = [pilot.models_id for pilot in pairs]
        teachers = {pilot.models_id: pilot for pilot in pairs}
        live.score = _score_of(live, pairs)
        if watching is not None:
            _carry_over(teachers.get(watching.models_id, before), watching)
            watching.score = _score_of(watching, pairs)
        if [pilot.models_id for pilot in (live, watching) if pilot is not None] != ids:
            self.contest = Contest()
        self.live, self.shadow, self.options = live, watching, present
        self.reloads += 1
        return lost

    def promote(self) -> str | None:
        """The shadow acts from the next tick on, and what acted is the shadow. Called again, it is rolled back.

        Raises:
            ValueError: there is no shadow.
        """
        if self.shadow is None:
            raise ValueError("promote: expected a session with a shadow, got none")
        return self.reload(self.shadow.engine, shadow=self.live.engine)


def _score_of(pilot: Pilot, pairs: list[Pilot]) -> Score:
    """The score of the same models, which is taken from the list, or a new one."""
    for known in pairs:
        if known.models_id == pilot.models_id:
            pairs.remove(known)
            return known.score
    return pilot.score


def _carry_over(before: Pilot, after: Pilot) -> str | None:
    """What was learnt goes on in another controller; why it could not."""
    try:
        after.restore(before.state(), same_model=False)
    except ValueError as error:
        return str(error)
    return None


def forecast_of(decision: Decision) -> Forecast:
    """A decision's answer as numbers."""
    answer = decision.forecast
    return Forecast(answer.mbps, answer.p10, answer.p50, answer.p90, answer.reserve, answer.source, answer.cause)


def models_id(models: Mapping[str, str]) -> str:
    """Twelve digits that stand for these models: of the SHA-256 of their names and SHA-256s."""
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(models.items()))
    return sha256(text.encode("utf-8"))[:12]


def reason_of(decision: Decision, options: Mapping[str, Any], actions: int) -> str:
    """What set the target: one of REASONS. The same comparisons as in the controller, which does not say it."""
    if decision.action < 0 and decision.allocation_cause != "failed":
        return "stalled" if decision.stalled else "no_telemetry"
    capacity = options["capacity_mbps"]
    answer = decision.forecast
    asked = {
        "allocator": 1.0 if decision.allocation_cause == "failed" else (decision.action + 1.0) / actions,
        "forecast": options["headroom"] * answer.mbps / capacity,
        "reserve": answer.reserve / capacity if options["risk"] > 0.0 and math.isfinite(answer.reserve) else NAN,
    }
    most = max(share for share in asked.values() if not math.isnan(share))
    if decision.clamped:
        return "minimum" if most < options["least_fraction"] else "maximum"
    for trouble in ("congested", "silent"):
        if getattr(decision, trouble) and decision.allocation_fraction > most + _ROUNDING:
            return trouble
    name = next(name for name, share in asked.items() if share == most)
    return "allocator_failed" if name == "allocator" and decision.allocation_cause == "failed" else name
