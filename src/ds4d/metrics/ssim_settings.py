"""The window and the constants of SSIM (Wang et al. 2004, Sec. III-C)."""

RADIUS = 5
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2
