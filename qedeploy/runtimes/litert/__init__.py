"""LiteRT (TensorFlow Lite): full-integer int8 files for microcontrollers and phones."""

from qedeploy.runtimes.litert.runtime import LiteRT

RUNTIME = LiteRT()
