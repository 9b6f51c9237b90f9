"""What the weekly report may say of a workload, in the order in which the gauge ``submeter_report_verdict`` numbers it.

Boards and alerts know the numbers: a new one goes to the end.
"""

from typing import Literal, get_args

Verdict = Literal["NOT COMPARABLE", "TOO CLOSE", "BUY", "RENT-OPEN", "BUILD IF QUALITY HOLDS", "BUILD"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
