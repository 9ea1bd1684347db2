//! ONNX: read, fold, cut, write, and the standard architectures.
