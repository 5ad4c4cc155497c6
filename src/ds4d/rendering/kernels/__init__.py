"""The CPU splatter's inner loops, compiled by numba at their first use and kept on disk.

Importing these modules imports numba (half a second), so it is left to the back end. Every function reads and writes
float32 arrays in row-major order. Letters in shapes: T time, V view, I image (= T * V, time major), N Gaussians.
The public ones do the items `first` up to `end` of independent ones, so that threads can share the work.

numba's disk cache looks at the file of the function it compiles and at no other, and a stale kernel writes where it
must not. So a kernel, all it calls and the constants compiled into it stay in one file; what files share (the size of a
tile) is handed over as an argument. Only the constants of `settings` come from outside: they never change.
"""
