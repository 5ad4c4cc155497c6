"""Reading and writing pictures and videos, resampling, SSIM."""
