"""A study under other user models: fewer worlds, and only the arms that contrasts need."""

from __future__ import annotations

from typing import TypeVar

from .people.equations import UserModel
from .study import BehaviourSection, Study

B = TypeVar("B", bound=BehaviourSection)


def variants(study: Study, index: int) -> list[tuple[str, Study]]:
    """(directory prefix, study) of every user model that world ``index`` is lived under."""
    found = [("", study)]
    for model in sensitivity_models(study):
        other = variant(study, model)
        if index < other.study.worlds:
            found.append((f"sensitivity/{model}/", other))
    return found


def sensitivity_models(study: Study) -> tuple[str, ...]:
    """The user models a study is repeated under, the main one left out."""
    if study.audit.sensitivity_worlds < 1:
        return ()
    return tuple(m for m in study.audit.user_models if m != study.people.model)


def behaving(section: B, model: str) -> B:
    """The section with another preset and none of its constants overridden; its laws stay."""
    plain = {name: None for name in UserModel.__dataclass_fields__}
    return section.model_copy(update={"model": model, **plain})


def variant(study: Study, model: str) -> Study:
    """A study under another user model: fewer worlds, only the arms that contrasts need."""
    arms = tuple(arm for arm in study.study.arms if arm in ("random", "none"))
    worlds = min(study.audit.sensitivity_worlds, study.study.worlds)
    return study.model_copy(
        update={
            "study": study.study.model_copy(update={"arms": arms, "worlds": worlds}),
            "people": behaving(study.people, model),
            "users": tuple(behaving(kind, model) for kind in study.users),
            "experiments": (),
            "audit": study.audit.model_copy(update={"sensitivity_worlds": 0}),
        }
    )
