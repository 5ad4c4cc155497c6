"""The names of the presets: a command line that only names one needs no settings."""

from typing import Literal

PresetName = Literal["draft", "tiny", "cpu", "fast", "paper"]
