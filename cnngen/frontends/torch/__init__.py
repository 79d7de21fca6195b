"""PyTorch modules: `capture` has `torch.export` trace one, `handlers` translate its ops, `module` makes the graph.

Everything in here needs PyTorch, so nothing outside imports it before it has a module in hand.
"""
