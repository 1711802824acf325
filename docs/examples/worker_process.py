"""A worker without a web server.

python docs/examples/worker_process.py
"""

import asyncio
import os
import signal

from fastapi_task_manager import Config, TaskGroup, TaskManager

config = Config(redis_host=os.environ.get("TASK_MANAGER_REDIS_HOST", "localhost"), redis_key_prefix="worker")
manager = TaskManager(config=config)
group = TaskGroup("Invoices")
manager.add_task_group(group)


@group.add_task("* * * * *")
async def sync() -> None:
    print("sync")


async def main() -> None:
    """A worker without a web server. It stops in order at SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await manager.start()
    try:
        await stop.wait()
    finally:
        await manager.stop()


if __name__ == "__main__":
    asyncio.run(main())
