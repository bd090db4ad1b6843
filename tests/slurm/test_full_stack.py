"""PostgreSQL and RabbitMQ in place of SQLite and ZeroMQ: the same jobs, the same dataset."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_session import BIN

pytestmark = [pytest.mark.slurm, pytest.mark.daemon]
SERVER = "host=127.0.0.1 port=5432 user=aiida password=aiida dbname=aiida"


@pytest.fixture
def database(slurm: None) -> Iterator[str]:
    """Name of an empty database; skips where the services of setup_computers/slurm-local do not run."""
    import psycopg
    from kiwipy.rmq import connect

    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=5)
        connect("amqp://guest:guest@127.0.0.1:5672").close()
    except (OSError, psycopg.OperationalError) as error:
        pytest.skip(f"setup_computers/slurm-local/start-postgres-rabbitmq.sh has not been run: {error}")
    name = f"mbetrain_{uuid.uuid4().hex[:8]}"
    with server:
        server.execute(f"create database {name} encoding 'UTF8' template template0")
        yield name
        server.execute(f"drop database {name} with (force)")


def test_training_set_on_the_full_stack_equals_the_one_made_in_process(database: str, tmp_path: Path) -> None:
    helpers = Path(__file__).parents[1] / "helpers"
    program = str(helpers / "full_stack_session.py")
    environment = os.environ | {
        "AIIDA_PATH": str(tmp_path),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(helpers),
    }
    done = subprocess.run(
        [sys.executable, program, database, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "jobs.hdf5").read_bytes() == (tmp_path / "in_process.hdf5").read_bytes()
