"""What feeds the output, by all the evidence and not by one word. Pure.

1. A word that the measured volts contradict gives way: on battery before off, "online" with a dead input while the
   battery discharges is on battery, "standby" while a load is fed is not off.
2. Seconds on battery count from the last look on mains: many cards never set their counter back.
3. A device may feed from its battery while the grid is there (a hybrid inverter by its owner's choice, a status that is
   stuck): its mains is not gone, so its output is on mains, and `source` names what feeds it. Whether an input that
   shows a voltage is alive may take a while to see; until then `source` is ``unknown``.
4. An input with mains voltage may be the grid or a generator behind a switch, and no meter tells them apart. So
   `source` is ``grid`` only where the device names the grid and could name another; "online" alone has no `source`.
"""

from __future__ import annotations

from dataclasses import replace

from agent.common.power import LEAST_MAINS_V
from agent.probes.ups.draft import Draft, PowerMemory
from agent.probes.ups.scales import MOST_MAINS_V

ON_MAINS = frozenset({"online", "bypass", "boost", "trim", "eco"})
DEAD_V = 45.0  # at an input: less is no mains, whatever induces it
NEAR = 0.05  # two voltages that are the same but for their meters
NOMINALS_V = (100.0, 110.0, 115.0, 120.0, 127.0, 200.0, 208.0, 220.0, 230.0, 240.0)
CLASSES_V = (120.0, 230.0)  # mains of the world; what lies within a share of one of them can be used
USABLE = 0.15
USABLE_HZ = ((47.0, 53.0), (57.0, 63.0))
WAIT_S = 120.0  # until an input that shows mains and never moves is a meter that is stuck
SLACK_S = 5.0  # between a device's clock and ours


def settle_power(draft: Draft) -> PowerMemory:
    """Puts state, seconds, the input's voltage, the test and the source right."""
    memory = draft.memory.power
    _state(draft, memory)
    discharging = draft.get("output_state") == "battery"
    _input(draft, on_mains=draft.get("output_state") in ON_MAINS)
    _output(draft)
    _test(draft)
    _source(draft, memory)
    memory = _seconds(draft, memory)
    return _remembered(draft, memory, discharging=discharging)


# ---------------------------------------------------------------- state


def _state(draft: Draft, memory: PowerMemory) -> None:
    state, source = draft.get("output_state"), draft.source("output_state")
    dead, live = input_is_dead(draft), input_is_live(draft)
    if state == "battery" and draft.has("on_mains") and live:
        draft.put("output_state", "online", "online_and_battery")
    elif state == "battery" and draft.has("off") and _unfed(draft):
        draft.put("output_state", "off", "output_dead")
    elif state == "standby" or (state == "off" and source == "nut"):
        if is_fed(draft) and (live or dead):
            draft.put("output_state", "online" if live else "battery", "while_fed")
    elif state in ON_MAINS and dead and _runs_down(draft, memory):
        draft.put("output_state", "battery", "input_dead")
    elif state is None:
        new_state = _unnamed_state(draft, memory, dead=dead, live=live)
        if new_state is not None:
            draft.put("output_state", new_state, "by_volts" if draft.has("by_volts") else "by_time")


def input_is_dead(draft: Draft) -> bool:
    volts = draft.get("input_voltage_v")
    return draft.has("input_bad") if volts is None else volts < DEAD_V


def input_is_live(draft: Draft) -> bool:
    volts = draft.get("input_voltage_v")
    return volts is not None and volts >= LEAST_MAINS_V


def is_fed(draft: Draft) -> bool:
    """Whether the output carries a load: it has a voltage, and a load or the input's own voltage."""
    out = draft.get("output_voltage_v")
    if out is None or out < LEAST_MAINS_V:
        return False
    return (draft.get("load_pct") or 0) > 0 or _near(out, draft.get("input_voltage_v"))


def _unfed(draft: Draft) -> bool:
    out = draft.get("output_voltage_v")
    return out is not None and out < DEAD_V and not draft.get("load_pct")


def _runs_down(draft: Draft, memory: PowerMemory) -> bool:
    """Whether a UPS that calls itself online feeds from its battery. A dead input alone is no proof: some drivers show
    0 V for a line that they do not measure."""
    if draft.has("charging") or not draft.has("discharging"):
        return draft.has("on_battery") and not draft.has("charging")
    charge = draft.get("battery_charge_pct")
    return memory.live or (charge is not None and charge < 100)


def _unnamed_state(draft: Draft, memory: PowerMemory, *, dead: bool, live: bool) -> str | None:
    if draft.has("by_volts"):
        return "battery" if dead or (draft.has("discharging") and not live) else "online" if live else None
    seconds = draft.get("on_battery_s")
    if seconds is None:
        return None
    if seconds == 0:
        return "online" if (draft.get("input_voltage_v") or 0) > 10 else None
    counts = memory.counted is None or memory.counted[1] != seconds or draft.now_s - memory.counted[0] < SLACK_S
    return "battery" if dead or (counts and not live) else "online" if live else None


# ---------------------------------------------------------------- volts


def _input(draft: Draft, *, on_mains: bool) -> None:
    """A line that a UPS runs on cannot be dead, nor lie beyond the limits at which that UPS would leave it. What
    carries power has a frequency."""
    volts, state = draft.get("input_voltage_v"), draft.get("output_state")
    if volts is not None and on_mains:
        low, high = draft.limit("transfer_low_v"), draft.limit("transfer_high_v")
        if volts < DEAD_V:
            draft.refuse("input_voltage_v", "dead_on_mains")
        elif _is_beyond(
            volts, low if state in ("online", "trim") else None, high if state in ("online", "boost") else None
        ):
            draft.refuse("input_voltage_v", "beyond_transfer")
    for side, carries in (("input", on_mains), ("output", on_mains or state == "battery")):
        if draft.get(f"{side}_frequency_hz") == 0 and (carries or (draft.get(f"{side}_voltage_v") or 0) > 10):
            draft.refuse(f"{side}_frequency_hz", "zero")


def _is_beyond(volts: float, low: float | None, high: float | None) -> bool:
    """Whether a voltage lies clearly outside of limits; one that is no mains voltage is no limit."""
    below = low is not None and low >= LEAST_MAINS_V and volts < low * (1 - NEAR)
    return below or (high is not None and high >= LEAST_MAINS_V and volts * (1 - NEAR) > high)


def _output(draft: Draft) -> None:
    """A load is not fed with 2.6 V, nor with 262 V out of 230 V by a UPS that does not boost."""
    out, state = draft.get("output_voltage_v"), draft.get("output_state")
    if out is None or state not in (*ON_MAINS, "battery") or out > MOST_MAINS_V:
        return
    if out < DEAD_V and (draft.get("load_pct") or 0) > 0:
        draft.refuse("output_voltage_v", "too_low_to_feed")
        return
    nominals = [volts for name in ("output_nominal_v", "input_nominal_v") if (volts := draft.limit(name))]
    if draft.source("output_voltage_v") != "nut" and not nominals:
        return
    if out < LEAST_MAINS_V:
        draft.refuse("output_voltage_v", "too_low_to_feed")
    elif state in ("online", "eco", "bypass") and not _suits(out, draft.get("input_voltage_v"), nominals):
        draft.refuse("output_voltage_v", "against_input")


def _suits(out: float, volts: float | None, nominals: list[float]) -> bool:
    if _near(out, volts):
        return True
    usual = [nominal for nominal in nominals if nominal >= LEAST_MAINS_V] or NOMINALS_V
    return any(abs(out - nominal) <= 0.09 * nominal for nominal in usual)


def _near(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= NEAR * max(one, other)


# ---------------------------------------------------------------- tests


def _test(draft: Draft) -> None:
    """A test runs while anything says so and the mains is there; a failure stands while anything says so."""
    running = draft.has("testing") or draft.get("self_test") == "running"
    on_battery = draft.get("output_state") == "battery"
    if running and on_battery and input_is_dead(draft):
        draft.refuse("self_test", "mains_gone")
    elif running:
        draft.fields["self_test"] = "running"
    elif draft.has("test_failed"):
        draft.fields["self_test"] = "failed"


# ---------------------------------------------------------------- seconds on battery


def _seconds(draft: Draft, memory: PowerMemory) -> PowerMemory:
    on_mains, on_battery = draft.get("output_state") in ON_MAINS, draft.get("output_state") == "battery"
    counter = draft.get("on_battery_s")
    if counter is not None and (memory.counted is None or memory.counted[1] != counter):
        memory = replace(memory, counted=(draft.now_s, counter))
    if on_mains:
        if counter:
            draft.put("on_battery_s", 0.0, "not_reset")
        return replace(memory, counted_s=counter or 0.0)
    if on_battery and counter is not None and memory.mains_s is not None:
        most = draft.now_s - memory.mains_s + SLACK_S
        if counter > most:
            counted_on = counter - memory.counted_s
            draft.put("on_battery_s", round(min(counted_on if counted_on >= 0 else most, most), 1), "not_reset")
    return memory


# ---------------------------------------------------------------- source


def _source(draft: Draft, memory: PowerMemory) -> None:
    for word in ("generator", "solar"):
        if draft.has(word):
            draft.fields["source"] = word
            return
    if draft.has("grid") and draft.get("output_state") in ON_MAINS and not input_is_dead(draft):
        draft.fields["source"] = "grid"
        return
    if draft.get("output_state") != "battery" or draft.get("self_test") == "running":
        return
    if input_is_dead(draft) or draft.has("input_bad"):
        draft.fields["source"] = "battery"
    elif draft.get("input_voltage_v") is not None:
        draft.fields["source"] = "battery"
        source = _by_input(draft, memory)
        if source == "grid":
            draft.put("output_state", "online", "by_choice")
        elif source == "unknown":
            draft.fields["source"] = "unknown"


def _by_input(draft: Draft, memory: PowerMemory) -> str:
    """Of a device on battery whose input shows a voltage: the grid, if that voltage can be used and its meter lives."""
    if not _is_usable(draft):
        return "battery"
    if memory.honest or memory.moved or _has_moved(draft, memory):
        return "grid"
    since_s = memory.since_s if memory.since_s is not None else draft.now_s
    if memory.honest is None and draft.now_s - since_s < WAIT_S:
        return "unknown"
    if draft.get("on_battery_s") is None:  # so that the discharge keeps its true beginning
        draft.fields["on_battery_s"] = round(draft.now_s - since_s, 1)
    return "battery"


def _is_usable(draft: Draft) -> bool:
    """Whether a UPS could run on this line: within its own limits, else near a mains of the world."""
    volts, hertz = draft.get("input_voltage_v"), draft.get("input_frequency_hz")
    low, high = draft.limit("transfer_low_v"), draft.limit("transfer_high_v")
    if low is not None and high is not None and LEAST_MAINS_V <= low < high <= MOST_MAINS_V * 1.1:
        within = low <= volts <= high
    else:
        nominal = draft.limit("input_nominal_v")
        nominals = (nominal,) if nominal and nominal >= LEAST_MAINS_V else CLASSES_V
        within = any(abs(volts - nominal) <= USABLE * nominal for nominal in nominals)
    return within and (not hertz or any(least <= hertz <= most for least, most in USABLE_HZ))


def _has_moved(draft: Draft, memory: PowerMemory) -> bool:
    """Whether the input's volts or hertz differ from those of the look before: a meter that lives."""
    now = (draft.get("input_voltage_v"), draft.get("input_frequency_hz"))
    return any(was is not None and it is not None and was != it for was, it in zip(memory.input, now, strict=True))


def _remembered(draft: Draft, memory: PowerMemory, *, discharging: bool) -> PowerMemory:
    """`discharging`: what the device itself says, by choice or not."""
    on_mains = draft.get("output_state") in ON_MAINS
    memory = replace(memory, live=memory.live or input_is_live(draft))
    memory = replace(memory, mains_s=draft.now_s if on_mains else memory.mains_s)
    moved = memory.moved or _has_moved(draft, memory)
    memory = replace(memory, input=(draft.get("input_voltage_v"), draft.get("input_frequency_hz")))
    if not discharging:
        return replace(memory, since_s=None, moved=False) if on_mains else memory
    since_s = memory.since_s if memory.since_s is not None else draft.now_s
    honest = memory.honest
    if draft.get("input_voltage_v") is not None and input_is_dead(draft):
        honest = True
    elif not on_mains and draft.get("source") == "battery" and not moved and draft.now_s - since_s >= WAIT_S:
        honest = False
    return replace(memory, since_s=since_s, moved=moved, honest=honest)


# ---------------------------------------------------------------- glitches


def hold_back_glitches(draft: Draft) -> frozenset[str]:
    """Some UPSs say "low" or "replace" for a second or two every hour. On mains such a word counts from the second
    look on; on battery, where every second counts, what follows from it waits (`agent.scheduling.power`)."""
    standing = set()
    if draft.get("battery_replace") is True:
        standing.add("replace")
    if draft.get("battery_status") in ("low", "depleted") and draft.get("output_state") in ON_MAINS:
        standing.add("low")
    if draft.memory.power.mains_s is None and draft.memory.power.since_s is None:
        return frozenset(standing)  # the first look: nothing to compare with
    fresh = standing - draft.memory.held
    if "replace" in fresh:
        draft.refuse("battery_replace", "one_look")
    if "low" in fresh:
        draft.refuse("battery_status", "one_look")
    return frozenset(standing)
