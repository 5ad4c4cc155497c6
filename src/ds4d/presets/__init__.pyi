from .names import PresetName as PresetName
from .settings import PRESETS as PRESETS
from .settings import cpu as cpu
from .settings import default_preset as default_preset
from .settings import draft as draft
from .settings import fast as fast
from .settings import paper as paper
from .settings import tiny as tiny
