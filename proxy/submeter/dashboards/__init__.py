"""Boards, recording rules and alerts as code: what Grafana and Prometheus are given to read of Submeter.

- A *panel* (``panels``) is one question and its answer: title, description, unit, what it says without data, queries.
- A *board* (``cost``, ``latency``, ``prompts``, ``operations``) is rows of panels, variables and *marks* (``marks``) on
  the time axis; each of these modules has ``board()``, which ``boards`` lays out.
- A *query* (``targets``) is PromQL for the data source ``${prometheus}`` or SQL for ``${postgres}``.
- A *rule* is a recorded series (``recorded``) or an alert (``alerts``), with the reason for it; ``rules`` writes them.
- The *products* (``build.build``) are files: ``grafana/*.json`` and ``prometheus/*.yml``, the same bytes each time.
  They are committed under ``dashboards/``, and a test builds them anew.
- ``build.queries`` lists every query there is, so that each can be run against a real database.
- ``push`` gives the boards to a Grafana.

What is read: the metrics of docs/guide/metrics.md, and the ledger where it is Postgres. Nothing else in Submeter
imports this package but the command ``submeter dashboards``.
"""
