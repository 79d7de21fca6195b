"""The layers of the spec language: one class each, with its fields and the op that it becomes.

To add a layer, write one class in the module of its family: ``class MyLayer(Layer, kind="my_layer")`` with its fields
and `lower`. The parser, the messages, the JSON Schema and the documentation pick it up.
"""

from cnngen.frontends.layer import LAYERS, Common, Layer, Options
from cnngen.frontends.layers import axes, elementwise, image, norm, shape, window

__all__ = ["LAYERS", "Common", "Layer", "Options", "axes", "elementwise", "image", "norm", "shape", "window"]
