"""Every key of a `linkcast run` file: what it may be, its default, and what it is for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

NUMBER, INTEGER, TEXT, SWITCH = "a number", "a whole number", "a text", "true or false"
TEXTS, TABLE = "a list of texts", "a table"

INF = math.inf


@dataclass(frozen=True)
class Key:
    """What a key may be."""

    kind: str
    default: Any = None
    says: str = ""
    one_of: tuple[str, ...] = ()
    least: float = -INF
    most: float = INF
    required: bool = False

    @property
    def expected(self) -> str:
        """In words: "a number from 0 to 1"."""
        if self.one_of:
            return f"one of {', '.join(self.one_of)}"
        if self.least > -INF and self.most < INF:
            return f"{self.kind} from {self.least:g} to {self.most:g}"
        return f"{self.kind} of {self.least:g} or more" if self.least > -INF else self.kind

    def check(self, name: str, value: Any) -> Any:
        """The value as it is used. ValueError names the key."""
        fits = {
            NUMBER: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
            INTEGER: isinstance(value, int) and not isinstance(value, bool),
            TEXT: isinstance(value, str) and value != "",
            SWITCH: isinstance(value, bool),
            TEXTS: isinstance(value, list) and all(isinstance(one, str) and one for one in value),
            TABLE: isinstance(value, dict),
        }[self.kind]
        if not fits or (self.one_of and value not in self.one_of):
            raise ValueError(f"{name}: expected {self.expected}, got {value!r}")
        if self.kind in (NUMBER, INTEGER):
            if not self.least <= value <= self.most:
                raise ValueError(f"{name}: expected {self.expected}, got {value!r}")
            return float(value) if self.kind == NUMBER else value
        return value


def _share(says: str) -> Key:
    return Key(NUMBER, None, says, least=0.0, most=1.0)


def _at_least_0(says: str) -> Key:
    return Key(NUMBER, None, says, least=0.0)


KEYS: dict[str, dict[str, Key]] = {
    "": {
        "capacity_mbps": Key(NUMBER, None, "of the link, in the direction that is measured", least=1e-3, required=True),
        "dry_run": Key(SWITCH, True, "false: rates are applied; true: they are only said"),
        "link": Key(TEXT, None, "its name in log and metrics; default: the interface or the file"),
        "profile": Key(TEXT, "internet", "of the models"),
        "models": Key(TEXT, None, "a folder with models/ and metadata/; default: the bundled one"),
        "public_key": Key(
            TEXT, None, "a file: models that its key has not signed are refused; default: none is asked for"
        ),
        "backend": Key(TEXT, "auto", "what runs the models", one_of=("auto", "native", "tflite")),
        "precision": Key(TEXT, "float32", "of the forecaster's weights", one_of=("float32", "bfloat16", "int8")),
        "tick_s": Key(
            NUMBER, None, "seconds between ticks; default: the forecaster's time step", least=0.01, most=86400.0
        ),
        "late_s": Key(
            NUMBER, None, "a tick that begins later than this is counted as late; default: a tenth of a tick", least=0.0
        ),
        "status_s": Key(NUMBER, 60.0, "seconds between two lines that say how it is; 0: only what changes", least=0.0),
    },
    "source": {
        "kind": Key(TEXT, "interface", "where telemetry comes from", one_of=("interface", "file", "stdin")),
        "interface": Key(TEXT, None, "whose counters are read; needed for kind interface"),
        "direction": Key(TEXT, "sent", "which of its counters", one_of=("sent", "received")),
        "latency": Key(
            TEXT,
            "auto",
            "round-trip time and loss from TCP_INFO, echo replies, or both",
            one_of=("auto", "tcp", "ping", "none"),
        ),
        "targets": Key(TEXTS, [], "what is pinged at each tick: a gateway, or a list of reflectors"),
        "path": Key(TEXT, None, "the file that is followed; needed for kind file"),
        "from_start": Key(SWITCH, False, "read what the file holds at the start, too"),
        "late_s": Key(
            NUMBER, None, "a sample that comes later than usual by more is left out; default: three ticks", least=0.0
        ),
        "columns": Key(TABLE, {}, 'other columns of a file or of standard input: latency_ms = "rtt"'),
        "units": Key(TABLE, {}, 'units of its columns: bandwidth_mbps = "kbit/s"'),
        "timezone": Key(TEXT, None, "the site's zone, for abbreviations that mean several"),
    },
    "controller": {
        "risk": Key(NUMBER, None, "share of the ticks in which the allocation may be short", least=0.0, most=0.999),
        "headroom": _at_least_0("the allocation is at least this times the forecast"),
        "least_fraction": _share("of the capacity that is always allocated"),
        "most_fraction": _share("of the capacity that is allocated at most"),
        "safe_fraction": _share("where the allocation starts, and goes when telemetry stops"),
        "slew_per_s": _at_least_0("largest change of the fraction in a second; 0: no limit"),
        "hold_s": _at_least_0("after a change of the target, it stays for so long"),
        "stall_s": _at_least_0("telemetry older than this has stopped; 0: four time steps of the forecaster"),
        "measured_weight": _share("of the newest measurement in the average that answers until the window is full"),
        "deadline_ms": _at_least_0("a decision that takes longer is counted as late; 0: none"),
        "most_held": Key(INTEGER, None, "ticks without a sample over which the last one is held", least=0),
        "plausible_margin": _at_least_0("how far beyond what was seen a forecast may lie"),
        "stand_in": Key(TEXT, None, "what answers for an implausible forecast", one_of=("last", "forecast_mean")),
        "stand_in_weight": _share("of the newest forecast in forecast_mean"),
        "queue_ms": _at_least_0("queueing delay that is one; 0: the latency says nothing"),
        "congestion_step": _share("of the capacity, that a tick adds while the link is congested"),
        "stall_cut": _share("of the capacity, that a stall takes at most, in each stall_s"),
    },
    "shaper": {
        "kind": Key(TEXT, "none", "what is set; none: nothing", one_of=("none", "htb", "cake")),
        "interface": Key(TEXT, None, "where; default: the source's interface"),
        "leaf": Key(
            TEXT,
            "auto",
            "queue of HTB's class; auto: fq_codel where the kernel has it",
            one_of=("auto", "fq_codel", "pfifo"),
        ),
        "most_changes": Key(
            INTEGER, 12, "changes in any minute; lowering leaves a third of them for raises", least=2, most=6000
        ),
        "least_change": Key(
            NUMBER, 0.02, "share of the highest rate below which a change is not made", least=1e-4, most=1.0
        ),
        "lower_after_s": Key(
            NUMBER, 10.0, "a rate is what the allocations of so long needed most", least=0.0, most=3600.0
        ),
        "full": Key(
            NUMBER, 0.95, "share of its rate that traffic fills when it may want any amount", least=0.1, most=1.0
        ),
        "raise_by": Key(NUMBER, 2.0, "what a full rate is multiplied with in a tick", least=1.01, most=1000.0),
        "tc": Key(TEXT, "tc", "the program"),
        "timeout_s": Key(NUMBER, 5.0, "after which a tc that does not answer is given up", least=0.1, most=60.0),
        "state_dir": Key(TEXT, "/run/linkcast", "where it is written what was made, for the restore after a crash"),
    },
    "log": {
        "path": Key(
            TEXT, None, "of the decision log, such as /var/log/linkcast/decisions.jsonl; default: none is written"
        ),
        "most_mb": Key(NUMBER, 16.0, "MiB of a file before the next one begins", least=0.01, most=4096.0),
        "keep": Key(INTEGER, 20, "full files that are kept", least=0, most=100000),
    },
    "metrics": {
        "port": Key(INTEGER, None, "where Prometheus scrapes; default: nowhere", least=1, most=65535),
        "address": Key(TEXT, "127.0.0.1", "what is listened on"),
        "otel": Key(SWITCH, False, "measure through OpenTelemetry's global provider, too"),
    },
    "shadow": {
        "models": Key(TEXT, None, "a second folder of models: they see the same and never act; default: none"),
    },
}
"""By section and name; "" is what stands above all sections."""
