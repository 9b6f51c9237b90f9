"""The translator: OpenAI's dialect in, litellm inside, for providers that speak no OpenAI dialect. Its own process.

``app``      START HERE: the flow of a call      ``process``   the process, started by `submeter serve`
``request``  what of a body goes on, and what is refused (FAULTS 19)
``engine``   litellm, fenced in                  ``stream``    one streamed answer of it
``answer``   its answers and usage as OpenAI would write them
``failure``  its exceptions as OpenAI's errors

Nothing else may import litellm: it takes seconds to import, and two of this year's releases were compromised.
"""
