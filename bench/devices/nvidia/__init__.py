"""What an NVIDIA GPU is and says of itself: driver, sensors, cublasLt, and the few calls that CuPy is used for."""
