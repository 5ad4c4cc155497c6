"""Image metrics: PSNR, SSIM, LPIPS, and the scores of a rendered view."""

from ds4d.metrics.lpips import Lpips as Lpips
from ds4d.metrics.ssim import ssim as ssim
from ds4d.metrics.view_scores import METRICS as METRICS
from ds4d.metrics.view_scores import average_views as average_views
from ds4d.metrics.view_scores import psnr as psnr
from ds4d.metrics.view_scores import score_view as score_view
