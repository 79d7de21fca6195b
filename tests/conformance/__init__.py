"""The official test suite of ONNX, `onnx.backend.test`, on cnngen; ``python -m tests.conformance`` runs all of it."""
