"""Engine descriptors (`charts/<engine>/engine.yaml`) and the catalogue of engines that can be offered."""
