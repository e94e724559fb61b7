import importlib.metadata
import json

from tests.cli.console import qedeploy


def test_doctor_reports_the_installed_versions():
    done = qedeploy("doctor", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    details = {item["name"]: item["detail"] for item in report["findings"]}
    for name, distribution in (("PyTorch", "torch"), ("ONNX", "onnx"), ("ONNX Runtime", "onnxruntime")):
        assert importlib.metadata.version(distribution) in details[name]
    assert "CPUExecutionProvider" in details["ONNX Runtime"]
    assert report["machine"]["memory_bytes"] > 0


def test_what_is_missing_comes_with_its_remedy():
    report = json.loads(qedeploy("doctor", "--json").stdout)
    for item in report["findings"]:
        assert (item["status"] == "ready") == (item["remedy"] == "")


def test_doctor_prints_a_table_that_fits_a_narrow_terminal(tmp_path):
    done = qedeploy("doctor", cwd=tmp_path)
    assert done.returncode == 0
    assert "TensorRT" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
