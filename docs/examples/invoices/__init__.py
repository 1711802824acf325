"""An application as one meets it at work: invoices, with the tasks around them.

    python -m tests.redis_server --port 6380                    a Redis, if there is none
    PYTHONPATH=docs/examples python -m invoices.outside         the bank, the shop and the chat that it talks to
    TASK_MANAGER_REDIS_HOST=redis://localhost:6380/0 uvicorn --app-dir docs/examples invoices.app:app

Start the last line in as many terminals as you like, each with a --port of its own. docs/howto/an-application.md
explains it.
"""
