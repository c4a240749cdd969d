"""The configuration of an agent: layers, the document each instance gets, and how a change reaches running instances. Pure."""
