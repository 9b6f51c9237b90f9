"""Marks on the time axis: what happened when, so that a step in a graph has its reason beside it.

Grafana draws one where an expression is above zero. A counter's first value is no increase to Prometheus, so that a
series that was not there before counts as well.
"""

from submeter.dashboards.boards import Annotation


def model_changes() -> Annotation:
    """Another model answered under the name that was asked for."""
    changes = "submeter_model_changes_total"
    grown = f"sum by (model) (increase({changes}[5m])) > 0"
    begun = f"sum by (model) ({changes}) unless sum by (model) ({changes} offset 5m)"
    return Annotation(
        "served model changed", f"({grown}) or ({begun})", "{{model}} is served by another model", "orange"
    )


def new_versions() -> Annotation:
    """Submeter itself was deployed anew."""
    running = "count by (version) (submeter_build_info)"
    expr = f"{running} unless {running.replace('info)', 'info offset 10m)')}"
    return Annotation("Submeter version", expr, "Submeter {{version}} began", "blue")


def missing_relays() -> Annotation:
    """Fewer relays write their journal than are configured: one was killed, or is starting."""
    expr = "sum(submeter_workers) - sum(submeter_relays)"
    return Annotation("relays missing", expr, "fewer relays than configured", "red")
