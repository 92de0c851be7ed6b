"""Print the CPU levels of this machine other than the one in use."""

from tinytorch import kernels

info = kernels.cpu_info()
print(*(level for level in info["levels"] if level != info["level"]))
