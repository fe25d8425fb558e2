"""Recommenders with a known dose of a known harm; the self-test proves that audits find them.

They are ordinary recommenders: ``loopaudit.audit.planted:BubbleFormer`` names one anywhere a
recommender is named. The clean controls need no code of their own; see ``selftest.py``.
"""

from .bubble_former import BubbleFormer
from .memoriser import Memoriser
from .replacing import GenderDegrader, PreferenceShaper
from .title_inventor import TitleInventor

__all__ = ["BubbleFormer", "GenderDegrader", "Memoriser", "PreferenceShaper", "TitleInventor"]
