"""OpenVINO on the CPU."""

from qedeploy.runtimes.openvino.runtime import OpenVINO

RUNTIME = OpenVINO()
