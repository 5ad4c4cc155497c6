"""The inner loops of the CPU renderer, compiled by numba at their first use and cached on disk.

Importing these modules imports numba (half a second), so the renderer imports them when it is used. Functions read and
write float32 arrays in row-major order. Letters in shapes: T time, V view, I image (= T * V, time major), N Gaussians.
Public functions process the items `first` up to `end` of independent ones, so that threads can share the work.
"""
