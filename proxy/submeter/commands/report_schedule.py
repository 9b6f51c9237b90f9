"""What starts ``submeter report`` each Monday: a crontab's line, systemd's units, a CronJob of Kubernetes.

The first two run it in the directory in which they were printed, where it finds the same submeter.yaml and
alternatives.yaml as by hand. A report's week ends on Monday at 00:00 UTC, and its last calls are rows soon after.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import Literal

Format = Literal["cron", "systemd", "kubernetes"]

HOUR = 6
"""UTC."""
ARGUMENTS = ("report", "--html", "report.html")


def text(format: Format) -> str:  # noqa: A002 - as the option is called
    """Ready for ``crontab -e``, /etc/systemd/system, or beside what deploy/kubernetes has made."""
    if format == "kubernetes":
        return KUBERNETES
    command = (*program(), *ARGUMENTS)
    if format == "systemd":
        return systemd(command, Path.cwd(), getuser())
    return cron(command, Path.cwd(), _monday(), os.environ)


def program() -> tuple[str, ...]:
    """This submeter, wherever PATH will lead then."""
    for path in (Path(sys.argv[0]), Path(sys.executable).with_name("submeter")):
        if path.name == "submeter" and path.is_file():
            return (str(path.absolute()),)
    return (sys.executable, "-m", "submeter.cli")


def _monday() -> datetime:
    """This week's, in this machine's time: crontabs are in that."""
    now = datetime.now(UTC)
    monday = now - timedelta(days=now.weekday())
    return monday.replace(hour=HOUR, minute=0).astimezone()


def cron(command: Iterable[str], directory: Path, at: datetime, environ: Mapping[str, str]) -> str:
    """``at``: in the machine's time, of which an hour more or less in summer does no harm."""
    line = f"cd {shlex.quote(str(directory))} && {shlex.join(command)}".replace("%", r"\%")
    left = sorted(name for name in environ if name.startswith("SUBMETER_"))
    note = f"# set here, and not in a crontab unless you write them there: {', '.join(left)}\n" if left else ""
    return f"{note}{at.minute} {at.hour} * * {at.isoweekday() % 7} {line}\n"


def systemd(command: Iterable[str], directory: Path, user: str) -> str:
    words = " ".join(map(_word, command))
    return SYSTEMD.format(command=words, directory=str(directory).replace("%", "%%"), user=user, hour=HOUR)


def _word(text: str) -> str:
    """As ``ExecStart`` reads it (systemd.service(5), "Command lines")."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(each.isspace() for each in text) else escaped


SYSTEMD = """\
# /etc/systemd/system/submeter-report.service
[Unit]
Description=Submeter's weekly report: buy, rent or build
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
User={user}
WorkingDirectory={directory}
# What the unit that serves is told, where there is one.
EnvironmentFile=-/etc/submeter/submeter.env
UMask=0077
Nice=10
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full

# /etc/systemd/system/submeter-report.timer: a file of its own; then systemctl enable --now submeter-report.timer
[Unit]
Description=Submeter's weekly report, on Monday for the week that has ended

[Timer]
OnCalendar=Mon *-*-* {hour:02d}:00:00 UTC
# If it was off then, as soon as it is on.
Persistent=true

[Install]
WantedBy=timers.target
"""

KUBERNETES = """\
# The weekly report, keep buying or rent or build. It is kept in unit 0's volume, beside the reports of earlier weeks that
# it is held against, and there that unit's meter finds it: gauges, and the board Buy vs build. What there is to choose
# from: kubectl create configmap submeter-alternatives --from-file=alternatives.yaml; without it, page one alone.
apiVersion: batch/v1
kind: CronJob
metadata:
  name: submeter-report
  labels: {app.kubernetes.io/name: submeter-report}
spec:
  # Monday morning, for the week that has ended.
  schedule: "0 6 * * 1"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 4
  failedJobsHistoryLimit: 2
  jobTemplate:
    spec:
      backoffLimit: 2
      activeDeadlineSeconds: 3600
      template:
        metadata:
          labels: {app.kubernetes.io/name: submeter-report}
        spec:
          restartPolicy: Never
          serviceAccountName: submeter
          automountServiceAccountToken: false
          enableServiceLinks: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile: {type: RuntimeDefault}
          # A volume that one node may write (ReadWriteOnce) is shared by the pods of that node.
          affinity:
            podAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                - topologyKey: kubernetes.io/hostname
                  labelSelector:
                    matchLabels: {statefulset.kubernetes.io/pod-name: submeter-0}
          containers:
            - name: report
              image: submeter
              # kubectl exec submeter-0 -- cat /data/report.html > report.html
              args: [report, --html, /data/report.html]
              # Where it finds submeter.yaml and alternatives.yaml.
              workingDir: /etc/submeter
              env:
                - name: SUBMETER_LEDGER
                  valueFrom:
                    secretKeyRef: {name: submeter, key: SUBMETER_LEDGER}
                - {name: SUBMETER_DATA_DIR, value: /data}
              resources:
                requests: {cpu: 100m, memory: 512Mi}
                limits: {memory: 2Gi}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {drop: [ALL]}
              volumeMounts:
                - {name: config, mountPath: /etc/submeter, readOnly: true}
                - {name: data, mountPath: /data}
                - {name: tmp, mountPath: /tmp}
          volumes:
            - name: config
              projected:
                sources:
                  - configMap: {name: submeter}
                  - configMap: {name: submeter-alternatives, optional: true}
            - name: data
              persistentVolumeClaim: {claimName: data-submeter-0}
            - name: tmp
              emptyDir: {}
"""  # noqa: E501
"""deploy/kubernetes/base/cronjob.yaml, which is in no wheel; a test holds the two together."""
