"""The log: one JSON object a line, also for the lines of uvicorn."""

import json
import logging
from datetime import UTC, datetime

ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
"""The attributes of every record. All others are fields: those of a run, and those that the caller gave as `extra`."""


class JsonLines(logging.Formatter):
    """Writes the fields of a record beside its message."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in ORDINARY}
        run = f"[{fields.get('task')} run {fields.get('run_id')} attempt {fields.get('attempt')}] "
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().removeprefix(run),  # the fields say it
            **fields,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Call it before the application starts."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("uvicorn", "uvicorn.access"):  # uvicorn has given them handlers of their own
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
