"""Load tests: latency against input and output length, measured through Locust, and what is made of it.

samples    one call of a load test or one row of the ledger; ``samples.csv``
fit        the model: latency = a + b x uncached input + c x output, robust, with bootstrap intervals
compare    two runs held against each other: regressed, same or improved, per measure and setting
production the same of the ledger's real calls, by model and week, against the week before
peers      the same calls at several targets in turns: what each hop adds
knee       where the throughput-latency curve of rising rates bends
scenario   what is asked, from TOML; ``texts``: prompts of an exact number of tokens; ``run``: Locust in its process
report     one HTML file
"""
