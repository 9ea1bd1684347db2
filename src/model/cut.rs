//! Cutting a piece out of the model: ONNX over any regions.
