"""The codes inside readings: what is wrong with a seat, what tells how a run ended, which UPS figures were put right.

On the wire they are short text (`agent.common.code_text`), in the language files `seat_fault.…`, `boot.…` and
`correction.…`. Each table has every code with parameters as they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.common import code_text
from agent.common.reasons import Param, Reason
from agent.wire import SeatColumns

SEAT_FAULTS: Mapping[str, Mapping[str, Param]] = {
    "said_bye": {},
    "silent": {"silent_s": 300},
    "silent_on": {"silent_s": 300},  # its PC answers the network
    "silent_gone": {"silent_s": 300},  # its PC does not
    "unheard": {"silent_s": 300},  # since the agent started
    "unheard_on": {"silent_s": 300},
    "unheard_gone": {"silent_s": 300},
    "back_off": {"silent_s": 2400},  # what a silence was that is over
    "back_asleep": {"silent_s": 2400},
    "back_stopped": {"silent_s": 2400},
    "back_network": {"silent_s": 2400},
    "clone": {},  # two machines report under one identity
    "intruder": {},  # a PC without the seat's own key speaks for it
    # what several seats have in common that are there at once
    "one_address": {"n": 3},
    "one_machine": {"n": 2},  # a disk or a network card
    "virtual": {},
    "cpu": {"used_pct": 98.0, "limit_pct": 97.0},  # of a gateway before 0.3: a busy PC is in use
    "memory": {"used_pct": 98.0, "limit_pct": 97.0},
    "disk": {"used_pct": 98.0, "limit_pct": 97.0},
    "hot": {"now_c": 99.0, "limit_c": 95.0},
    "disk_failing": {"size_gb": 256.1},
    "disk_gone": {"size_gb": 256.0},
    "memory_gone": {"left_gb": 8.0, "all_gb": 16.0},
}
BOOT_EVIDENCE: Mapping[str, Mapping[str, Param]] = {
    "no_mark": {},
    "mark_damaged": {},
    "no_stop": {},  # the run before left no word of a stop
    "went_down": {},  # so the machine went down without a shutdown
    "same_boot": {},
    "new_boot": {"up_s": 75},
    "marked_crash": {},
    "shutdown": {},
    "stopped": {},
    "kernel_crash": {},  # the firmware kept a kernel's last words
    "clock_behind": {},  # the clock is behind the last reading
}
CORRECTIONS: Mapping[str, Mapping[str, Param]] = {
    "tenths": {"field": "runtime_s", "raw": 2450.0, "mib": "rfc1628"},
    "hundredths": {"field": "battery_voltage_v", "raw": 5460.0, "mib": "rfc1628"},
    "thousandths": {"field": "output_voltage_v", "raw": 230000.0, "mib": "nut"},
    "whole": {"field": "input_voltage_v", "raw": 23.0, "mib": "rfc1628"},  # what claims to be tenths is not
    "tenfold": {"field": "input_frequency_hz", "raw": 5.0, "mib": "rfc1628"},
    "by_time": {"field": "output_state", "on_battery_s": 30.0},  # the card names no state, but a time on battery
    "by_volts": {"field": "output_state"},  # the plant names no state, but voltages
    # one number by itself
    "sentinel": {"field": "battery_charge_pct", "raw": 65535.0, "mib": "nut"},  # means "unknown"
    "impossible": {"field": "input_frequency_hz", "raw": 3.0, "mib": "rfc1628"},
    "undecided_scale": {"field": "battery_temp_c", "raw": 65.0, "mib": "rfc1628"},
    "against_scale": {"field": "battery_temp_c", "raw": 900.0, "mib": "rfc1628"},
    "zero": {"field": "runtime_s", "raw": 0.0, "mib": "rfc1628"},
    # against what else the UPS reports
    "one_cell": {"field": "battery_voltage_v", "raw": 2.28, "mib": "nut"},
    "from_one_cell": {"field": "battery_charge_pct", "raw": 0.0, "mib": "nut"},
    "against_voltage": {"field": "battery_charge_pct", "raw": 0.0, "mib": "nut"},
    "battery_is_there": {"field": "battery_replace"},
    "by_power": {"field": "load_pct", "raw": 440.0, "mib": "powernet"},
    "against_limits": {"field": "battery_status", "word": "low", "mib": "nut"},
    "by_limits": {"field": "battery_status"},
    "dead_on_mains": {"field": "input_voltage_v", "raw": 0.0, "mib": "nut"},
    "beyond_transfer": {"field": "input_voltage_v", "raw": 300.0, "mib": "nut"},
    "too_low_to_feed": {"field": "output_voltage_v", "raw": 2.6, "mib": "nut"},
    "against_input": {"field": "output_voltage_v", "raw": 265.0, "mib": "nut"},
    # which state it is in
    "online_and_battery": {"field": "output_state"},
    "output_dead": {"field": "output_state", "word": "battery", "mib": "nut"},
    "while_fed": {"field": "output_state", "word": "standby", "mib": "nut"},
    "input_dead": {"field": "output_state", "word": "online", "mib": "nut"},
    "by_choice": {"field": "output_state"},
    "mains_gone": {"field": "self_test"},
    # against what it reported before
    "not_reset": {"field": "on_battery_s", "raw": 7200.0, "mib": "powernet"},
    "one_look": {"field": "battery_replace"},
    # the conversation itself
    "cut_short": {},
    "elsewhere": {"address": "192.0.2.8"},
}


def fault(code: str, /, **params: Param) -> Reason:
    """One code of SEAT_FAULTS."""
    return Reason(f"seat_fault.{code}", params)


def faults_of(seats: SeatColumns) -> dict[str, tuple[Reason, ...]]:
    """{seat: its faults} of those that have any; of a gateway before 0.2 the sentence that it sent."""
    before = {name: (Reason.text(why),) for name, why in zip(seats.id, seats.why, strict=True) if why}
    return before | {name: code_text.decode(text, "seat_fault") for name, text in seats.faults.items() if text}


def correction(code: str, /, **params: Param) -> str:
    """One code of CORRECTIONS as the wire has it."""
    return code_text.encode([Reason(f"correction.{code}", params)])


def evidence_of(evidence: Sequence[str]) -> tuple[Reason, ...]:
    """What a BootReading's `evidence` says; sentences of a gateway before 0.2 as they stand."""
    return tuple(reason for text in evidence for reason in code_text.decode(text, "boot"))


def corrections_of(corrected: Sequence[str]) -> tuple[Reason, ...]:
    """What a UpsReading's `corrected` says; sentences of a gateway before 0.2 as they stand."""
    return tuple(reason for text in corrected for reason in code_text.decode(text, "correction"))
