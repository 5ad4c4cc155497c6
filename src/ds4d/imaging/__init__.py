"""Reading and writing pictures and videos, resampling, contact sheets, SSIM, LPIPS."""

from ds4d.imaging.atomic import atomic_path as atomic_path
from ds4d.imaging.contact_sheets import contact_sheet as contact_sheet
from ds4d.imaging.gifs import write_gif as write_gif
from ds4d.imaging.images import image_size as image_size
from ds4d.imaging.images import on_white as on_white
from ds4d.imaging.images import premultiply as premultiply
from ds4d.imaging.images import read_rgba as read_rgba
from ds4d.imaging.images import resize_premultiplied as resize_premultiplied
from ds4d.imaging.images import spread_colors as spread_colors
from ds4d.imaging.images import write_png as write_png
from ds4d.imaging.lpips import Lpips as Lpips
from ds4d.imaging.ssim import ssim as ssim
from ds4d.imaging.videos import write_alpha_video as write_alpha_video
from ds4d.imaging.videos import write_video as write_video
