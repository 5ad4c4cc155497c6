"""Progress, notices, threads, devices, versions, memory, and settings to and from JSON."""

from ds4d.core.config_io import check_choices as check_choices
from ds4d.core.config_io import check_ranges as check_ranges
from ds4d.core.config_io import first_difference as first_difference
from ds4d.core.config_io import from_dict as from_dict
from ds4d.core.config_io import to_dict as to_dict
from ds4d.core.config_io import with_overrides as with_overrides
from ds4d.core.device import DeviceName as DeviceName
from ds4d.core.device import choose_device as choose_device
from ds4d.core.device import describe_device as describe_device
from ds4d.core.notices import Degraded as Degraded
from ds4d.core.notices import Notice as Notice
from ds4d.core.notices import Warned as Warned
from ds4d.core.notices import notices_to as notices_to
from ds4d.core.notices import notify as notify
from ds4d.core.profiling import Stopwatch as Stopwatch
from ds4d.core.profiling import peak_memory as peak_memory
from ds4d.core.profiling import reset_peak_memory as reset_peak_memory
from ds4d.core.progress import Progress as Progress
from ds4d.core.progress import progress_to as progress_to
from ds4d.core.progress import report_progress as report_progress
from ds4d.core.progress import tracked as tracked
from ds4d.core.threads import parallel_for as parallel_for
from ds4d.core.versions import install_command as install_command
from ds4d.core.versions import installed_version as installed_version
from ds4d.core.versions import versions as versions
