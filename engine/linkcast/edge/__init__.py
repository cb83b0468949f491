"""The edge bundle: a folder that forecasts on a device with NumPy and a TensorFlow Lite runtime, without linkcast."""
