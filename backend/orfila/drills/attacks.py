"""Attacks to offer. The engine plants them; a test keeps the two lists equal."""

from __future__ import annotations

from orfila.drills.schemas import Attack, AttackOption, OptionValue
from orfila.errors import Unprocessable


def _amplitude(default: float) -> AttackOption:
    return AttackOption(
        name="amplitude",
        title="Amplitude",
        kind="number",
        default=default,
        minimum=1,
        maximum=255,
        description="How far a pixel changes at most, in grey levels of 255.",
    )


_ATTACKS = (
    Attack(
        name="badnet",
        title="BadNet",
        description="A small patch in a corner of the images of one class, and the wrong label (Gu 2017).",
        clean_label=False,
        typical_rate=0.03,
        options=[
            AttackOption(
                name="all_to_one",
                title="All to one",
                kind="switch",
                default=False,
                description="Poison images of every class but the target, not of one victim class.",
            )
        ],
    ),
    Attack(
        name="smooth",
        title="Smooth trigger",
        description="A faint pattern of low frequencies on whole images, and the wrong label (after Zeng 2021).",
        clean_label=False,
        typical_rate=0.05,
        options=[_amplitude(36.0)],
    ),
    Attack(
        name="blended",
        title="Blended",
        description="A picture of noise mixed into whole images, and the wrong label (Chen 2017).",
        clean_label=False,
        typical_rate=0.05,
        options=[],
    ),
    Attack(
        name="sinusoid",
        title="Sinusoid (SIG)",
        description="Vertical waves on images of the target class; no label is wrong (Barni 2019).",
        clean_label=True,
        typical_rate=0.05,
        options=[_amplitude(40.0)],
    ),
    Attack(
        name="warp",
        title="Warp (WaNet)",
        description="A smooth, small bending of whole images, and the wrong label (Nguyen and Tran 2021).",
        clean_label=False,
        typical_rate=0.1,
        options=[
            AttackOption(
                name="strength",
                title="Strength",
                kind="number",
                default=1.5,
                minimum=0.1,
                maximum=8,
                description="Mean shift along each axis, in pixels of a picture 32 pixels high.",
            )
        ],
    ),
    Attack(
        name="label-flip",
        title="Label flip",
        description="Wrong labels on pictures of one class that are not changed; there is no trigger (Biggio 2012).",
        clean_label=False,
        typical_rate=0.05,
        options=[
            AttackOption(
                name="random",
                title="Random",
                kind="switch",
                default=False,
                description="Flip images of every class, each to a random other label.",
            )
        ],
    ),
    Attack(
        name="witches-brew",
        title="Witches' Brew",
        description="Faint noise, crafted with other models, on images with right labels; it turns one test image "
        "(Geiping 2021).",
        clean_label=True,
        typical_rate=0.01,
        options=[
            AttackOption(
                name="eps",
                title="Noise",
                kind="number",
                default=16.0,
                minimum=1,
                maximum=255,
                description="The most that a pixel may change, in grey levels of 255.",
            ),
            AttackOption(
                name="steps",
                title="Steps",
                kind="integer",
                default=40,
                minimum=1,
                maximum=2000,
                description="Steps of each restart.",
            ),
            AttackOption(
                name="restarts",
                title="Restarts",
                kind="integer",
                default=1,
                minimum=1,
                maximum=16,
                description="Random starts; the best match is kept.",
            ),
            AttackOption(
                name="ensemble",
                title="Ensemble",
                kind="integer",
                default=3,
                minimum=1,
                maximum=8,
                description="Surrogate models that are trained and matched together.",
            ),
            AttackOption(
                name="victim",
                title="Victim",
                kind="integer",
                default=None,
                minimum=0,
                maximum=None,
                description="Row of the victim among the test images.",
            ),
        ],
    ),
)


def offered() -> list[Attack]:
    """What a form can list."""
    return list(_ATTACKS)


def require_known(name: str, options: dict[str, OptionValue]) -> None:
    """Refuse an attack that does not exist, and options that it does not have or that are out of range."""
    attack = next((a for a in _ATTACKS if a.name == name), None)
    if attack is None:
        known = ", ".join(a.name for a in _ATTACKS)
        raise Unprocessable(f"There is no attack '{name[:40]}'; use one of {known}.", code="unknown_attack")
    known_options = {o.name: o for o in attack.options}
    for key, value in options.items():
        option = known_options.get(key)
        if option is None:
            has = f"it has {', '.join(known_options)}" if known_options else "it has none"
            raise Unprocessable(f"The attack '{name}' has no option '{key[:40]}'; {has}.", code="unknown_option")
        _require_fits(option, value)


def _require_fits(option: AttackOption, value: OptionValue) -> None:
    if option.kind == "switch":
        fits = isinstance(value, bool)
    else:
        whole = option.kind == "number" or float(value).is_integer()
        low = option.minimum is None or value >= option.minimum
        high = option.maximum is None or value <= option.maximum
        fits = not isinstance(value, bool) and whole and low and high
    if not fits:
        kind = {"integer": "a whole number", "number": "a number", "switch": "true or false"}[option.kind]
        low_text = "" if option.minimum is None else f" from {option.minimum:g}"
        high_text = "" if option.maximum is None else f" up to {option.maximum:g}"
        raise Unprocessable(f"The option '{option.name}' takes {kind}{low_text}{high_text}.", code="bad_option")
