"""``submeter demo``: the main job on one machine, with no key and no network.

unit      a scripted provider and a ``submeter serve`` of its own, on free ports and a temporary directory
traffic   what four made-up teams ask of it, through the real SDKs
week      a made-up fortnight of theirs, and the weekly report over it
"""
